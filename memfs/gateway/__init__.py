"""WebHDFS over a memfs cluster: what Hadoop, Spark and everything that speaks their REST uses.

Stands on the client only. One module per family of operations (``status``, ``listing``,
``reading``, ``writing``, ``tree``, ``attributes``, ``xattrs``, ``locations``, ``checksums``,
``defaults``); around them who asks (``authentication``, ``sessions``), what is said (``shapes``,
``exceptions``, ``replies``) and how it travels (``connection``, ``server``). A gateway keeps
nothing that another one would need.
"""
