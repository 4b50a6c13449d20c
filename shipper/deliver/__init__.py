"""From payload to verdicts: courier, verdict table, dead letters."""
