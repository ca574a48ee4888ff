"""Block traffic of a node: requests that store and read, who may store how much, and discards."""
