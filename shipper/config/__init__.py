"""Configuration: YAML with positions, typed fields, conditions, component lookup."""
