"""A client's standing with the cluster: its id, its view, its way to the primary, its leases."""
