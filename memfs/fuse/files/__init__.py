"""What of the cluster is open through a mount: files, with their leases, and directories."""
