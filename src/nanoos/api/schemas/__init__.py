"""API types: what requests and answers hold."""
