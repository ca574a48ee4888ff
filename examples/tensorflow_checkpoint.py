"""Train, save a checkpoint into the cluster, and go on from it. Needs memfs-cluster[tensorflow]."""

import tensorflow as tf

import memfs.tensorflow  # noqa: F401

weight = tf.Variable(5.0)
step = tf.Variable(0)
checkpoint = tf.train.Checkpoint(weight=weight, step=step)
manager = tf.train.CheckpointManager(checkpoint, "memfs:///checkpoints/example", max_to_keep=2)
manager.restore_or_initialize()

for _ in range(10):
    weight.assign(weight * 0.9)  # the training
    step.assign_add(1)
manager.save()
print(f"step {step.numpy()} is saved in {manager.latest_checkpoint}")
