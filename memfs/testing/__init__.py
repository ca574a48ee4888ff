"""The public test kit: clusters to test against, and checkers for what they do.

- :mod:`memfs.testing.in_process`: real nodes in this process, on loopback.
- :mod:`memfs.testing.processes`: real ``memfs node`` processes.
- :mod:`memfs.testing.simulation.cluster`: whole clusters under virtual time, from one seed, on the
  event
  loop of :mod:`memfs.testing.simulation.virtual` and the network of
  :mod:`memfs.testing.simulation.network`.
- :mod:`memfs.testing.model.filesystem`: the oracle, a file system in plain Python.
- :mod:`memfs.testing.model.operations`: random workloads; :mod:`memfs.testing.model.driver` runs
  them on a
  client.

It needs nothing beyond memfs itself, so that applications can test against a cluster, too.
"""
