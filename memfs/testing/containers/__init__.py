"""The cluster of ``deploy/compose.yaml`` in real containers, for tests.

- :mod:`memfs.testing.containers.engine`: the Docker engine, and Compose.
- :mod:`memfs.testing.containers.images`: the images, built on the spot and without a registry.
- :mod:`memfs.testing.containers.cluster`: the cluster, and what can be done to it.
"""
