"""What is allowed: permissions, access lists, names, quotas, content; and texts of refusals."""
