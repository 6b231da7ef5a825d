"""Everything the shells can do. Each service opens its own short transactions."""
