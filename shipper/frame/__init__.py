"""What is one record: lines, docker json-file."""
