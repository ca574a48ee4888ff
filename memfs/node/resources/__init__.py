"""What a node has of memory, descriptors and mappings, and what is done when it runs short."""
