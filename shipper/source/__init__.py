"""Who a file is, how it rotates, whose turn it is. Machines, no I/O."""
