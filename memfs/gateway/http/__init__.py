"""HTTP as WebHDFS needs it: connections, bodies, redirects, conditions, bounds."""
