"""``s3:``, Amazon's protocol at any endpoint that speaks it.

``store`` is the store; bytes are read by the library obstore, whose threads keep the event loop
free, and all else is asked by requests of our own (``signed_requests``, ``signature_v4``), since
that library cannot page a level, list keys that are no paths, or complete a large upload on a
condition.
"""
