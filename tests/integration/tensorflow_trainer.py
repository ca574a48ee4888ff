"""A training that goes on until a file called ``end`` is there: ``tensorflow_trainer.py LOGS``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import tensorflow as tf

import memfs.tensorflow  # noqa: F401


def main(logs: str) -> None:
    weight, optimizer = tf.Variable(5.0), tf.keras.optimizers.SGD(0.01)
    writer = tf.summary.create_file_writer(logs)
    step = 0
    while not Path("end").exists():
        with tf.GradientTape() as tape:
            loss = weight * weight
        optimizer.apply([tape.gradient(loss, weight)], [weight])
        with writer.as_default():
            tf.summary.scalar("loss", loss, step=step)
        writer.flush()
        step += 1
        time.sleep(0.1)
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
