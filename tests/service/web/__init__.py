"""Tests of REST, over a real socket."""
