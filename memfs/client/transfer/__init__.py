"""Copies of files and trees to, from and within the cluster."""
