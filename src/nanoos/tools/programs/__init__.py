"""Files that a tool's own Python runs by path; only ``serve`` is imported here as well."""
