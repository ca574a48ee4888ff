"""The replicas of the log: primary, backups, in-sync set, leases, and how a primary is found."""
