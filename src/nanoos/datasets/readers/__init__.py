"""Reading rows from files and from the databases of others."""
