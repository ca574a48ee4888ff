"""A client whose files the cluster cannot read: sealed before they leave, opened when they come."""
