"""Enrichment and control of redacted records, one stage a file."""
