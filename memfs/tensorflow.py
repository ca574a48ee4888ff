"""``memfs://`` in TensorFlow: importing this module is all.

>>> import tensorflow as tf, memfs.tensorflow
>>> with tf.io.gfile.GFile("memfs:///hello.txt", "w") as w:
...     w.write("Hello, world!")

Needs ``pip install memfs-cluster[tensorflow]``. See ``docs/tensorflow.md``.
"""

from memfs.integrations.tensorflow.plugin import register

__all__ = ["register"]

register()
