"""Documents: splice, index name, deterministic id, bulk body."""
