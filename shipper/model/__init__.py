"""The nouns all other packages share: span, batch, columns, payload, verdicts, errors."""
