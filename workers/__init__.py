"""Trying it: tasks, the population trainer, the Tune trainable and the driver of a job."""
