"""What to try next: search spaces, the Optuna searcher, the controller, and their Tune adapter."""
