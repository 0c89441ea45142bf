"""The probe shows what training does, and random numbers seldom do."""

import torch

from dsl.probe import REACH, TIMES, numbers, probe


def test_gradients_are_exactly_0_in_every_way() -> None:
    gradients, _ = probe()
    zero = gradients == 0.0
    assert zero.all(0).any(), "for ever"
    for step in (1, 3, 8):
        assert (zero[:step].all(0) & ~zero[step:].any(0)).any(), "until a step"
        assert (zero[step:].all(0) & ~zero[:step].any(0)).any(), "from a step on"
        assert (zero[step] & (zero.sum(0) == 1)).any(), "once"


def test_gradients_are_of_all_sizes_and_mostly_usual() -> None:
    gradients, weights = probe()
    sizes = gradients.abs()
    assert gradients.isfinite().all()
    assert sizes[sizes > 0.0].min() < 1e-40
    assert REACH < sizes.max() < 4.0 * REACH
    assert ((sizes > 1e-5) & (sizes < 1.0)).double().mean() > 0.4
    both = (gradients[1:] * gradients[:-1]).sign()
    assert min((both > 0).double().mean(), (both < 0).double().mean()) > 0.2
    assert weights.isfinite().all()


def test_averages_pass_near_0() -> None:
    """The average of g and that of g^3, beside the gradients of which they are made."""
    for power, beta in ((1, 0.9), (3, 0.999)):
        average = torch.zeros_like(probe()[0][0])
        largest, least = average.clone(), torch.full_like(average, torch.inf)
        for g in probe()[0] ** power:
            average = beta * average + (1.0 - beta) * g
            largest = torch.maximum(largest, (1.0 - beta) * g.abs())
            least = torch.where(average == 0.0, least, torch.minimum(least, average.abs()))
        nearness = (least / largest).log10()
        assert all(((nearness < -k) & (nearness > -k - 1.5)).any() for k in range(1, 6))


def test_weights_are_0_at_times_and_some_for_ever() -> None:
    gradients, weights = probe()
    zero = weights == 0.0
    assert zero.all(0).any()
    assert (zero & (gradients != 0.0)).any(1).all()
    assert (zero[0] & ~zero[1:].any(0)).any()
    assert (weights == -1e-4).any()


def test_random_numbers_are_others_at_every_step() -> None:
    for name in ("uniform", "normal"):
        drawn = numbers(name, 0)
        assert drawn.shape == probe()[0].shape
        assert len(drawn.unique(dim=0)) == len(TIMES)
        assert not torch.equal(drawn, numbers(name, 1))
