"""The study of strategies, small: a search that finds too little counts as one that guesses."""

import torch

from tests.benchmarks.study_search import GUESSING, TOP, search


def test_what_a_search_lacks_to_ten_rules_counts_as_guessing() -> None:
    threads = torch.get_num_threads()
    found = search("random", 0, 4)
    torch.set_num_threads(threads)
    assert found.complete < TOP
    assert found.losses[found.complete :] == (GUESSING,) * (TOP - found.complete)
