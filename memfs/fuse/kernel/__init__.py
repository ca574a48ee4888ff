"""The kernel's side of a mount: its protocol, its descriptor, and mount points."""
