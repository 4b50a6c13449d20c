"""Outputs: where payloads go. One file each."""
