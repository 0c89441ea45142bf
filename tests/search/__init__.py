"""Tests of what to try next."""
