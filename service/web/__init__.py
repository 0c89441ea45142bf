"""HTTP: the REST interface, the event stream and the dashboard."""
