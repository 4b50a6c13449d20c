"""The gate: nothing goes on unredacted."""
