"""Columns from records."""
