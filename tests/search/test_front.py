from search.front import front


def test_the_front_is_what_nobody_beats_in_all() -> None:
    values = [(0.3, 0.9), (0.1, 0.5), (0.2, 0.7), (0.2, 0.6), (0.3, 0.9), (0.4, 0.9)]
    assert front(values, ("minimize", "maximize")) == [1, 2, 0, 4]
    assert front(values, ("minimize", "minimize")) == [1]
    assert front([], ("minimize", "maximize")) == []
