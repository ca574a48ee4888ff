"""The public test kit: clusters to test against, and the means to judge what they do.

- :mod:`memfs.testing.cluster`: real nodes in this process, on loopback.
- :mod:`memfs.testing.processes`: real ``memfs node`` processes.
- :mod:`memfs.testing.simulation`: whole clusters under virtual time, from one seed, on the event
  loop of :mod:`memfs.testing.virtual` and the network of :mod:`memfs.testing.network`.
- :mod:`memfs.testing.model`: the oracle, a file system in plain Python.
- :mod:`memfs.testing.operations`: random workloads; :mod:`memfs.testing.driver` runs them on a
  client.

It needs nothing beyond memfs itself, so that applications can test against a cluster, too.
"""
