"""Certificates and principals, TLS, access control lists, tokens, sealed and signed files."""
