"""Commands on the cluster as a whole: status, health, members, recovery, fsck."""
