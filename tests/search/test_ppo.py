import copy
import math

import pytest
import torch
from torch import Tensor

from search.controller import Controller, uniform
from search.ppo import Baseline, Batch, Learner, Ranking, loss
from search.settings import Reinforcement
from tests.search.toys import Toy, rewards


def gradient(value: Tensor, controller: Controller) -> Tensor:
    parts = torch.autograd.grad(value, list(controller.parameters()), allow_unused=True)
    pairs = zip(parts, controller.parameters(), strict=True)
    return torch.cat([(torch.zeros_like(w) if g is None else g).flatten() for g, w in pairs])


@pytest.fixture
def controller() -> Controller:
    network = Controller(Toy(), hidden=8, seed=2).double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(6.0)
    return network


def exact(controller: Controller) -> Tensor:
    """The gradient of the expected reward, every string written out."""
    strings = Toy().strings()
    expected = (controller.score(strings).log_probs.exp() * rewards(strings)).sum()
    return gradient(expected, controller)


def test_gradient_over_all_strings_is_the_exact_policy_gradient(controller: Controller) -> None:
    strings = Toy().strings()
    log_probs = controller.score(strings).log_probs.detach()
    for shift in (0.0, 1.7):  # a baseline changes nothing, as the probabilities sum to one
        batch = Batch(strings, log_probs, rewards(strings).double() - shift, log_probs.exp())
        surrogate = -gradient(loss(controller, batch, clip=0.2, entropy=0.0), controller)
        torch.testing.assert_close(surrogate, exact(controller), rtol=1e-5, atol=1e-7)


def test_gradient_over_samples_comes_near_the_exact_one(controller: Controller) -> None:
    n = 20_000
    sample = controller.sample(n, torch.Generator().manual_seed(0))
    centred = rewards(sample.tokens).double()
    centred = centred - centred.mean()
    batch = Batch(sample.tokens, sample.log_probs.double(), centred)
    estimate = -gradient(loss(controller, batch, clip=0.2, entropy=0.0), controller)
    truth = exact(controller)
    assert torch.cosine_similarity(estimate, truth, dim=0) > 0.99
    assert (estimate - truth).norm() < 0.1 * truth.norm()


def test_exact_gradient_agrees_with_finite_differences(controller: Controller) -> None:
    strings = Toy().strings()
    direction = exact(controller)
    step = 1e-5 / direction.norm()

    def expected(sign: float) -> float:
        at = 0
        with torch.no_grad():
            for weight in controller.parameters():
                part = direction[at : at + weight.numel()].view_as(weight)
                weight.add_(part, alpha=float(sign * step))
                at += weight.numel()
            return float((controller.score(strings).log_probs.exp() * rewards(strings)).sum())

    up, down = expected(1.0), expected(-2.0)
    assert (up - down) / (2 * float(step)) == pytest.approx(
        float(direction.square().sum()), rel=1e-5
    )


def test_entropy_bonus_adds_the_gradient_of_the_entropy(controller: Controller) -> None:
    strings = Toy().strings()
    log_probs = controller.score(strings).log_probs.detach()
    batch = Batch(strings, log_probs, torch.zeros(len(strings), dtype=torch.float64))
    bonus = -gradient(loss(controller, batch, clip=0.2, entropy=0.3), controller)
    truth = gradient(0.3 * controller.score(strings).entropies.mean(), controller)
    torch.testing.assert_close(bonus, truth)


def test_clipping_stops_what_went_far_enough(controller: Controller) -> None:
    strings = Toy().strings()[:4]
    log_probs = controller.score(strings).log_probs.detach()
    # Ratios of e and 1/e, each with the advantage that pushes further and the one that pulls back.
    old = log_probs + torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    advantages = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
    for row, moves in enumerate([False, True, False, True]):
        batch = Batch(strings[row : row + 1], old[row : row + 1], advantages[row : row + 1])
        moved = gradient(loss(controller, batch, clip=0.2, entropy=0.0), controller).norm() > 0
        assert bool(moved) is moves


def test_puts_nearly_all_its_mass_on_the_best_string() -> None:
    toy = Toy(length=4, vocabulary=5)
    strings = toy.strings()
    best = strings[rewards(strings).argmax()]
    settings = Reinforcement(hidden=24, learning_rate=0.01, entropy=0.0)
    controller = Controller(toy, settings.hidden, seed=0)
    learner = Learner(controller, settings)
    generator = torch.Generator().manual_seed(0)
    assert controller.score(best[None]).log_probs.exp().item() < 0.05
    for _ in range(60):
        sample = controller.sample(64, generator)
        learner.learn(sample.tokens, sample.log_probs, rewards(sample.tokens), generator)
    assert controller.score(best[None]).log_probs.exp().item() > 0.99


def test_far_off_policy_rows_do_no_harm() -> None:
    toy = Toy(length=4, vocabulary=5)
    settings = Reinforcement(hidden=24, learning_rate=0.01)
    controller = Controller(toy, settings.hidden, seed=0)
    learner = Learner(controller, settings)
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        sample = uniform(toy, 64, generator)
        claimed = sample.log_probs - 40.0  # as if drawn from a distribution all but disjoint
        learner.learn(sample.tokens, claimed, rewards(sample.tokens), generator)
    assert all(bool(weight.isfinite().all()) for weight in controller.parameters())


def test_baseline_follows_the_rewards_in_units_of_their_spread() -> None:
    baseline = Baseline(past=0.5)
    baseline.update(torch.tensor([1.0, 3.0]))
    assert (baseline.mean, baseline.square) == (2.0, 1.0)
    assert baseline.advantages(torch.tensor([3.0, 2.0])).tolist() == [1.0, 0.0]
    baseline.update(torch.tensor([6.0]))
    assert baseline.mean == 4.0
    assert baseline.square == pytest.approx(0.5 * 1.0 + 0.5 * 4.0)
    baseline.update(torch.tensor([]))
    assert baseline.heard == 3


def test_ranks_score_the_best_of_n_by_log_n_and_are_even_in_the_mean() -> None:
    ranking = Ranking(4)
    ranking.update(torch.tensor([2.0, -9.0, 3.0, 1.0]))
    scores = ranking.advantages(torch.tensor([-9.0, 1.0, 2.0, 3.0]))
    assert scores.tolist() == sorted(scores.tolist())
    assert scores[-1].item() == pytest.approx(math.log(4))
    assert scores.sum().item() == pytest.approx(0.0, abs=1e-6)
    # equals share the ranks they take up together
    ranking.update(torch.tensor([0.0, 3.0, 3.0, 3.0]))
    tied = ranking.advantages(torch.tensor([0.0, 3.0]))
    assert tied[0].item() == pytest.approx(scores[0].item())
    assert 3 * tied[1].item() == pytest.approx(-tied[0].item())
    # what is older than the window is forgotten, and may stand above or below all of it
    assert ranking.advantages(torch.tensor([-9.0]))[0].item() == pytest.approx(scores[0].item())
    assert ranking.advantages(torch.tensor([9.0]))[0].item() == pytest.approx(math.log(4))


@pytest.mark.parametrize(("ranked", "alike"), [(50, True), (0, False)])
def test_only_the_order_of_rewards_matters_where_they_are_ranked(ranked: int, alike: bool) -> None:
    settings = Reinforcement(hidden=8, ranked=ranked)
    weights = []
    for shape in (lambda rewards: rewards, lambda rewards: torch.exp(3 * rewards)):
        learner = Learner(Controller(Toy(), settings.hidden, seed=0), settings)
        generator = torch.Generator().manual_seed(0)
        sample = learner.controller.sample(16, generator)
        learner.learn(sample.tokens, sample.log_probs, shape(rewards(sample.tokens)), generator)
        weights.append(learner.controller.embedding.weight)
    assert torch.equal(*weights) is alike


def test_state_round_trip_goes_on_to_the_bit() -> None:
    def learner() -> Learner:
        settings = Reinforcement(hidden=8, learning_rate=0.01)
        return Learner(Controller(Toy(), settings.hidden, seed=0), settings)

    def teach(pupil: Learner, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        sample = pupil.controller.sample(16, generator)
        pupil.learn(sample.tokens, sample.log_probs, rewards(sample.tokens), generator)

    one, two = learner(), learner()
    teach(one, 1)
    two.load(copy.deepcopy(one.state()))
    teach(one, 2)
    teach(two, 2)
    for left, right in zip(one.controller.parameters(), two.controller.parameters(), strict=True):
        assert torch.equal(left, right)
    assert math.isfinite(one.baseline.mean)
    assert one.baseline.__dict__ == two.baseline.__dict__


def test_the_entropy_bonus_rises_while_rules_repeat_and_falls_back() -> None:
    settings = Reinforcement(hidden=8, entropy=0.01, fresh=0.5)
    learner = Learner(Controller(Toy(), 8, seed=0), settings)
    learner.adapt(0.5)
    assert learner.entropy == 0.01
    learner.adapt(0.1)
    raised = learner.entropy
    assert raised > 0.01
    learner.adapt(0.9)
    assert 0.01 <= learner.entropy < raised
    for _ in range(100):
        learner.adapt(0.0)
    assert 0.01 < learner.entropy <= 0.5
    for _ in range(100):
        learner.adapt(1.0)
    assert learner.entropy == 0.01
