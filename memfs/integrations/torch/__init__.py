"""PyTorch over the blocking client: datasets and checkpoints."""
