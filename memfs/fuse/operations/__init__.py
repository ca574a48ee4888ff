"""What is done for each request of the kernel: a module per family."""
