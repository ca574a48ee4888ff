"""Other people's libraries on memfs beside the same ones on something else.

Each runs in its own environment of the test kit: the module here starts what is compared and makes
the rows, its half in ``inside`` does the work there.
"""
