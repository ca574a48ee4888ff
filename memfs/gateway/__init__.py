"""WebHDFS over a memfs cluster: what Hadoop, Spark and everything that speaks their REST uses.

Stands on the client only. ``operations`` has a module per family of them; around them who asks
(``auth``), what Hadoop expects to be said (``hadoop``) and how it travels (``http``). A gateway
keeps nothing that another one would need.
"""
