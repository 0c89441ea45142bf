import copy

import pytest
import torch

from search.controller import Controller, uniform
from tests.search.toys import Toy


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def controller() -> Controller:
    network = Controller(Toy(), hidden=16, seed=1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(8.0)  # far from even, so that order and places matter
    return network


def test_probabilities_of_all_legal_strings_sum_to_one(controller: Controller) -> None:
    scores = controller.score(controller.grammar.strings())  # type: ignore[attr-defined]
    assert scores.log_probs.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    assert scores.log_probs.exp().max() > 2 / 36, "the controller should not be even"


def test_illegal_strings_have_probability_zero(controller: Controller) -> None:
    assert controller.score(torch.tensor([[0, 0, 1], [1, 2, 2]])).log_probs.exp().tolist() == [0, 0]


def test_entropy_is_that_of_the_choices(controller: Controller) -> None:
    strings = controller.grammar.strings()  # type: ignore[attr-defined]
    scores = controller.score(strings)
    # The chain rule: the expectation of the summed choice entropies is the entropy of strings.
    p = scores.log_probs.exp()
    whole = -(p * scores.log_probs).sum()
    assert (p * scores.entropies).sum().item() * 3 == pytest.approx(whole.item(), rel=1e-5)


def test_samples_follow_their_probabilities(controller: Controller) -> None:
    strings = controller.grammar.strings()  # type: ignore[attr-defined]
    p = controller.score(strings).log_probs.exp().detach()
    n = 20_000
    sample = controller.sample(n, generator())
    counts = (sample.tokens[:, None] == strings).all(dim=2).sum(dim=0)
    assert counts.sum() == n
    deviation = (counts - n * p) / (n * p * (1 - p)).sqrt()
    assert deviation.abs().max() < 5
    torch.testing.assert_close(sample.log_probs, controller.score(sample.tokens).log_probs)


def test_temperature_flattens_and_says_so(controller: Controller) -> None:
    hot = controller.sample(4000, generator(), temperature=1e6)
    torch.testing.assert_close(hot.log_probs, torch.full((4000,), -torch.log(torch.tensor(36.0))))
    cold = controller.sample(4000, generator())
    most = [sample.tokens.unique(dim=0, return_counts=True)[1].max() for sample in (hot, cold)]
    assert most[1] > 1.5 * most[0]


def test_the_seeds_decide_all() -> None:
    one, two = (Controller(Toy(), 8, seed=3) for _ in range(2))
    assert torch.equal(one.sample(9, generator(4)).tokens, two.sample(9, generator(4)).tokens)
    other = Controller(Toy(), 8, seed=4)
    assert not torch.equal(one.embedding.weight, other.embedding.weight)
    assert copy.deepcopy(one).state_dict().keys() == one.state_dict().keys()


def test_uniform_draws_evenly() -> None:
    toy = Toy()
    sample = uniform(toy, 20_000, generator())
    counts = (sample.tokens[:, None] == toy.strings()).all(dim=2).sum(dim=0)
    assert counts.sum() == 20_000
    assert (counts - 20_000 / 36).abs().max() < 5 * (20_000 / 36) ** 0.5
    torch.testing.assert_close(sample.log_probs, torch.full((20_000,), -3.5835189))
