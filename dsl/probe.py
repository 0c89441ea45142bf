"""The probe: the fixed gradients, weights and random numbers along which rules are compared."""

from functools import cache

import torch

from dsl.randomness import Draw, normal, uniform

__all__ = ["REACH", "SEED", "TIMES", "TOTAL", "noise", "numbers", "probe"]

TIMES = (0, 1, 2, 3, 4, 7, 20, 90, 400, 2000, 9000, 20000)
"""The steps t that the probe visits: a rule that waits for step 1,000 shows it."""

TOTAL = 10007.3
"""The total of steps T: the last time lies beyond it, and no whole frequency divides it."""

SEED = 1709

REACH = 100.0
"""Gradients are hardly larger, so the probe does not tell clip(g, 200) from g. Larger ones would
make exp overflow on the way to what can be finite: exp(g) * exp(-g)."""

_SIZES, _WEIGHTS = 100, 101
"""Streams of random numbers, beside one for each block of gradients."""

_ELSEWHERE = 1_000_000
"""Numbers from this one on are free for other purposes."""


@cache
def probe() -> tuple[torch.Tensor, torch.Tensor]:
    """Return gradients and weights, [steps, coordinates] each, float64.

    Two rules that differ are told apart only where the probe goes to where they differ. So it has
    gradients of all sizes, from one coordinate to the next and from one step to the next; many as
    in training, since a bound or the turn of a logarithm may show on one of a thousand only; and
    what random numbers are not, but training is: gradients that are exactly 0, for ever or for a
    while, averages that pass near 0, weights that are exactly 0. Weights are of all orders from
    1e-7 to 100, some far larger, and others at every step; some have one digit, as those have that
    began at 0 and moved by the learning rate times a sign.
    """
    z = [normal(_source(place), 0, _like(count)) for place, (_, count) in enumerate(_BLOCKS)]
    gradients = torch.cat([block(own) for (block, _), own in zip(_BLOCKS, z, strict=True)], dim=1)
    weights = normal(_source(_WEIGHTS), 0, gradients) + 0.5
    weights *= 100.0 * _spread(_source(_WEIGHTS + 1), gradients, 9.0)
    weights[:, 5::8] *= 1e6
    weights[:, 3::8] = _one_digit(weights[:, 3::8])
    weights[uniform(_source(_WEIGHTS + 2), 0, gradients) < 0.1] = 0.0
    weights[:, ::16] = 0.0
    return gradients, weights


def _every_order(z: torch.Tensor) -> torch.Tensor:
    """Return gradients from 1e-48, whose eighth root a clip still tells from its sign, to 100.

    One of them is 0 at every second step.
    """
    found = (z + _drift(z)) * 10.0 ** _even(-48.0, 2.0, z)
    found[::2, -3] = 0.0
    return found


def _wild(z: torch.Tensor) -> torch.Tensor:
    """Return gradients of another order at every step: averages and gradients differ."""
    return (z + _drift(z)) * _spread(_source(_SIZES), z, 20.0)


def _large(z: torch.Tensor) -> torch.Tensor:
    """Return gradients between 0.01 and 100, where exponentials and logarithms turn."""
    return (z + _drift(z)) * 10.0 ** _even(-2.0, 2.0, z)


def _usual(z: torch.Tensor) -> torch.Tensor:
    """Return gradients as training has them, without a mean."""
    return z * 10.0 ** _even(-5.0, 0.5, z)


def _near_one(z: torch.Tensor) -> torch.Tensor:
    """Return gradients that stay near 1 or -1, where logarithms change their sign."""
    place = torch.arange(z.shape[1])
    nearness = 10.0 ** -(place + 1).double().div(4).ceil()
    near = 1.0 + torch.where(place % 2 == 0, nearness, -nearness)
    return torch.where(place % 4 < 2, near, -near).expand(z.shape)


def _interrupted(z: torch.Tensor) -> torch.Tensor:
    """Return gradients that are exactly 0 for ever, up to a step, from a step on, at a step.

    As under dead units, at pixels always black, in rows of an embedding that no batch names.
    """
    step, place = torch.arange(len(TIMES)).unsqueeze(1), torch.arange(z.shape[1])
    ways = [step < 0, step % 2 == 0, step % 2 == 1, step % 3 == 0, (step < 3) | (step > 6)]
    for at in (1, 2, 3, 5, 8):
        ways += [step < at, step >= at, step == at, step != at]
    shown = torch.cat(ways, dim=1)[:, place % len(ways)]
    sizes = 10.0 ** _even(-6.0, 0.5, z)[place * 5 % z.shape[1]]
    return torch.where(shown, z * sizes, 0.0)


def _balanced(z: torch.Tensor) -> torch.Tensor:
    """Return gradients at every second of which the average of g, or of g^3, passes near 0."""
    place = torch.arange(z.shape[1])
    cubes = place % 2 == 1
    power, beta = torch.where(cubes, 3.0, 1.0), torch.where(cubes, 0.999, 0.9).double()
    nearness = 10.0 ** -(1.0 + place // 4 % 6)
    found = z * 10.0 ** _even(-4.0, 0.5, z)
    slot = torch.zeros_like(z[0])
    for step, g in enumerate(found):
        if step % 2:
            against = -slot * beta / (1.0 - beta)
            g.copy_(against.sign() * against.abs() ** (1.0 / power))
            g *= 1.0 + torch.where(place % 4 < 2, nearness, -nearness)
        slot = beta * slot + (1.0 - beta) * g.sign() * g.abs() ** power
    return found


def _vanishing(z: torch.Tensor) -> torch.Tensor:
    """Return gradients of which the cube, or the square too, is too small for a number.

    Training in float32 has them from 1e-15 and 1e-23 on: sign(g ^ 3) is not sign(g) there. The
    second half are so at every second step only, so that averages remember others.
    """
    found = z * 10.0 ** -torch.tensor([112.0, 165.0], dtype=torch.float64).repeat(2)
    found[::2, 2:] = 1e-3 * z[::2, 2:]
    return found


_BLOCKS = (
    (_every_order, 40),
    (_wild, 20),
    (_large, 80),
    (_usual, 300),
    (_near_one, 24),
    (_interrupted, 80),
    (_balanced, 48),
    (_vanishing, 4),
)
"""Kinds of gradients, each made of normal numbers [steps, coordinates], and how many of them."""


def _one_digit(weights: torch.Tensor) -> torch.Tensor:
    """Return the weights rounded to one decimal digit that counts."""
    unit = 10.0 ** weights.abs().log10().floor()
    return (weights / unit).round() * unit


def _like(count: int) -> torch.Tensor:
    return torch.empty(len(TIMES), count, dtype=torch.float64)


def _even(low: float, high: float, z: torch.Tensor) -> torch.Tensor:
    """Return numbers from low to high, one for each coordinate."""
    return torch.linspace(low, high, z.shape[1], dtype=torch.float64)


def _drift(z: torch.Tensor) -> torch.Tensor:
    """Return means beside which normal numbers keep their sign, or change it now and then."""
    place = torch.arange(z.shape[1], dtype=torch.float64)
    drift = 1.5 * torch.cos(place)
    return torch.where(drift.abs() < 0.5, 1.0 - 2.0 * (place % 2), drift)


def _source(place: int) -> Draw:
    """Return where random numbers stand that no rule draws."""
    return Draw(SEED + 1, place)


def _spread(draw: Draw, like: torch.Tensor, decades: float, index: int = 0) -> torch.Tensor:
    """Return numbers evenly spread over so many orders of magnitude below 1."""
    return 10.0 ** (-decades * uniform(draw, index, like))


def noise(draw: Draw, index: int, like: torch.Tensor) -> torch.Tensor:
    """Return what stands for normal numbers: small ones and large ones are not as rare."""
    small = Draw(draw.seed, draw.t, draw.first + _ELSEWHERE)
    return 4.0 * normal(draw, index, like) * _spread(small, like, 12.6, index)


@cache
def numbers(draw: str, index: int) -> torch.Tensor:
    """Return the numbers of one draw of a rule at every step."""
    gradients, _ = probe()
    function = {"uniform": uniform, "normal": noise}[draw]
    rows = [function(Draw(SEED, t), index, g) for t, g in zip(TIMES, gradients, strict=True)]
    return torch.stack(rows)
