"""Tests of the optimizers' room."""
