"""A node: its part of the namespace, its block store, and the services in front of them."""
