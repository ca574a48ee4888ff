"""Who is who: certificates of a cluster, the principals they name, TLS contexts made of them."""
