"""What is open through a mount: files, with their leases, and directories."""
