"""Training of property models."""
