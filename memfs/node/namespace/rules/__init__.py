"""What is allowed: permissions, lists, names, quotas, content; and the words of a refusal."""
