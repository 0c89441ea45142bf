"""The rule language: every update rule, hand-made or discovered, is text in it."""
