import random

import numpy as np
import torch

from workers.generators import Generators, host_state


def numbers() -> list[float]:
    return [float(torch.rand(())), float(np.random.random()), random.random()]


def test_rows_draw_their_own_numbers_in_turns_and_leave_the_process_its_own() -> None:
    torch.manual_seed(0)
    outer = torch.get_rng_state(), host_state()
    cpu = torch.device("cpu")
    with Generators(5, cpu).lent():
        expected = numbers() + numbers()
    own, other = Generators(5, cpu), Generators(6, cpu)
    found = []
    for each in (own, other, own):
        with each.lent():
            found.append(numbers())
    assert found[0] + found[2] == expected
    assert not set(found[1]) & set(expected)
    assert torch.equal(outer[0], torch.get_rng_state())
    assert outer[1] == host_state()


def test_a_draw_shows_in_the_state() -> None:
    with Generators(5, torch.device("cpu")).lent():
        states = [host_state()]
        for draw in (np.random.random, random.random):
            draw()
            states.append(host_state())
    assert states[0] != states[1] != states[2]
