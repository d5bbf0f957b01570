"""What a Plan or a network will cost before it is built: exact cycles, accesses, energy and memory, and the report."""
