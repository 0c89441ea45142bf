"""Tests of the service, over the real store, the real server and real Ray."""
