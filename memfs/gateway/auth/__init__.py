"""Who asks, with which groups, and which client of the cluster works for them."""
