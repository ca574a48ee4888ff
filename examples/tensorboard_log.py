"""Log a training while it runs: ``tensorboard --logdir memfs:///examples/logs`` follows it.

Needs memfs-cluster[tensorflow].
"""

import tensorflow as tf

import memfs.tensorflow  # noqa: F401

LOGS = "memfs:///examples/logs/first"

with tf.summary.create_file_writer(LOGS).as_default():
    loss = 8.0
    for step in range(20):
        loss *= 0.8  # the training
        tf.summary.scalar("loss", loss, step=step)
        tf.summary.flush()  # visible now, for whoever follows

(log,) = tf.io.gfile.listdir(LOGS)
records = sum(1 for _ in tf.data.TFRecordDataset(f"{LOGS}/{log}"))
print(f"{records - 1} values are logged")  # the first one says what the file is
