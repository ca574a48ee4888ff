"""Who belongs to the cluster: the view, joining and leaving, and how a view is published."""
