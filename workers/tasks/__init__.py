"""The tasks a candidate is trained on, one file each."""
