"""Benchmarks: each prints its figures as ratios against a named peer in the same run."""
