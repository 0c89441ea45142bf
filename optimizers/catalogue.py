"""The named optimizers: every one is rule text with defaults and its paper."""

from optimizers import adaptive_rules, discovered_rules, momentum_rules, sign_rules
from optimizers.entry import Entry

CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for family in (momentum_rules, adaptive_rules, sign_rules, discovered_rules)
    for entry in family.ENTRIES
}
"""Name → entry. A new optimizer is one entry in its family's file and one case in the tests."""
