"""The cluster of ``deploy/compose.yaml`` in real containers, for tests.

- :mod:`tests.support.containers.engine`: the Docker engine, and Compose.
- :mod:`tests.support.containers.images`: the images, built on the spot and without a registry.
- :mod:`tests.support.containers.cluster`: the cluster, and what can be done to it.
"""
