"""Who belongs to the cluster and where blocks go: view rules, coordinator, ring."""
