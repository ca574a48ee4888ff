"""TensorFlow's file system plugin: Python callbacks over the blocking client.

TensorFlow's C interface is declared in :mod:`interface`, its calls are answered by
:mod:`operations` and :mod:`files`, :mod:`plugin` hands the table over.
"""
