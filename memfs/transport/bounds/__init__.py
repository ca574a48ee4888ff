"""What clients may use of a node: bounds, what counts against them, and whose turn it is."""
