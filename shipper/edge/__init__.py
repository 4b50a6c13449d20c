"""All I/O: files, watching, HTTP, state, clock."""
