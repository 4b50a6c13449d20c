"""A log shipping and enrichment agent: rotating files in, redacted and enriched documents in Elasticsearch."""
