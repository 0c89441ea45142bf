"""Does the controller learn what it should? On spaces small enough to write every string out.

The gradient of the surrogate loss over all strings, each weighed by its probability, is compared
with the exact gradient of the expected reward, that one with finite differences, and the gradient
over a batch of samples with both. Then a controller learns a toy space of 320 strings, by the
defaults but for its size and rate, and without an entropy bonus: how much of its probability is on
the best string in the end? A few seconds.
"""

import torch
from torch import Tensor

from search.controller import Controller
from search.ppo import Batch, Learner, loss
from search.settings import Reinforcement
from tests.benchmarks.results import record
from tests.search.toys import Toy, rewards

SAMPLES = 20_000
BATCHES, ROWS, SEEDS = 60, 64, 3
STEP = 1e-5
"""Of the finite differences, along the gradient."""


def controller_of(toy: Toy) -> Controller:
    """Return a controller in float64 whose choices are far from even."""
    network = Controller(toy, hidden=8, seed=2).double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(6.0)
    return network


def gradient(value: Tensor, controller: Controller) -> Tensor:
    """Return the gradient in all weights, as one vector."""
    parts = torch.autograd.grad(value, list(controller.parameters()), allow_unused=True)
    pairs = zip(parts, controller.parameters(), strict=True)
    return torch.cat([(torch.zeros_like(w) if g is None else g).flatten() for g, w in pairs])


def expected(controller: Controller, toy: Toy) -> Tensor:
    """Return the expected reward, every string written out."""
    strings = toy.strings()
    return (controller.score(strings).log_probs.exp() * rewards(strings)).sum()


def surrogate(controller: Controller, batch: Batch) -> Tensor:
    """Return minus the gradient of the loss that learning descends, without entropy bonus."""
    return -gradient(loss(controller, batch, clip=0.2, entropy=0.0), controller)


def slope(controller: Controller, toy: Toy, direction: Tensor) -> float:
    """Return the slope of the expected reward along a direction, by finite differences."""
    values = []
    for move in (STEP, -2 * STEP):
        at = 0
        with torch.no_grad():
            for weight in controller.parameters():
                part = direction[at : at + weight.numel()].view_as(weight)
                weight.add_(part, alpha=move)
                at += weight.numel()
            values.append(float(expected(controller, toy)))
    return (values[0] - values[1]) / (2 * STEP)


def gradients() -> None:
    """Print how far the gradients are from the exact one."""
    toy = Toy()
    controller = controller_of(toy)
    exact = gradient(expected(controller, toy), controller)
    strings = toy.strings()
    log_probs = controller.score(strings).log_probs.detach()
    whole = Batch(strings, log_probs, rewards(strings).double() - 1.7, log_probs.exp())
    far = float((surrogate(controller, whole) - exact).norm() / exact.norm())
    sample = controller.sample(SAMPLES, torch.Generator().manual_seed(0))
    centred = rewards(sample.tokens).double()
    batch = Batch(sample.tokens, sample.log_probs.double(), centred - centred.mean())
    cosine = float(torch.cosine_similarity(surrogate(controller, batch), exact, dim=0))
    length = float(exact.norm())
    measured = slope(controller, toy, exact / length) / length
    print(
        f"{len(strings)} strings, {exact.numel()} weights: the surrogate's gradient over all "
        f"strings is {far:.1e} of its length from the exact one; its cosine over {SAMPLES} "
        f"samples {cosine:.4f}; the slope by finite differences is {measured:.8f} of the exact one"
    )
    record("gradient over all strings, off the exact one", far, "of its length", at_most=1e-6)
    record("cosine of sampled and exact gradient", cosine, "", at_least=0.99, samples=SAMPLES)
    record("slope by finite differences over the exact one", measured, "times")


def mass(seed: int) -> float:
    """Return the probability of the best string of a toy space after learning."""
    toy = Toy(length=4, vocabulary=5)
    strings = toy.strings()
    best = strings[rewards(strings).argmax()]
    settings = Reinforcement(hidden=24, learning_rate=0.01, entropy=0.0)
    controller = Controller(toy, settings.hidden, seed)
    learner = Learner(controller, settings)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(BATCHES):
        sample = controller.sample(ROWS, generator)
        learner.learn(sample.tokens, sample.log_probs, rewards(sample.tokens), generator)
    return float(controller.score(best[None]).log_probs.detach().exp())


def main() -> None:
    """Print all of it."""
    own = torch.get_num_threads()
    torch.set_num_threads(1)
    gradients()
    masses = [mass(seed) for seed in range(SEEDS)]
    torch.set_num_threads(own)
    shown = ", ".join(f"{each:.5f}" for each in masses)
    print(f"probability of the best string of a toy space, {SEEDS} seeds: {shown}")
    record("least probability of the best string of a toy space", min(masses), "", at_least=0.99)


if __name__ == "__main__":
    main()
