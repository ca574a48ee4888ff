"""``memfs put``, ``get``, ``cp`` and ``sync``: commands that copy files and trees."""
