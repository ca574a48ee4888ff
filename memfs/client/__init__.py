"""The Python client: an asynchronous core and its blocking face. Knows nodes by messages only."""
