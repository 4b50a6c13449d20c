"""What `shipper demo` ships: three small real programs that log and rotate, and the independent recount of what became of it."""
