"""What is settled: ledger and checkpoint."""
