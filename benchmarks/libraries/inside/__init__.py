"""Scripts that run in the libraries' environments; each prints its figures as JSON."""
