"""External stores on loopback for the tests: real servers, and one that breaks on purpose."""
