"""Commands that look at files and change nothing: listings, searches, sizes, checksums."""
