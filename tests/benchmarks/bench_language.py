"""When two texts are one rule: what canonical form and fingerprint merge, and whether rightly.

100,000 strings of the language `nos` are drawn evenly, of one, two and three groups. Printed are
how many a static check refuses, how many of the others have a canonical form that came before,
how many of the forms have a fingerprint that came before, and what each of that costs.

Then rules are trained beside each other in float64, one row each, with equal seeds. The
learning rate is divided by the scale of the rule, as a tuned one would be: of each, where scale
does not count.

- False merges: pairs whose texts differ and that count as one rule, by the canonical form or by
  the fingerprint, but whose weights part. Forms are equal in exact arithmetic: sign(g^3) is
  sign(g), although g^3 underflows to 0 first.
- Missed merges: pairs of strings that differ in one token and count as two rules, but whose
  weights stay together. That they do on these data for these steps does not make them one rule,
  so this is an upper bound.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from dsl.candidate import Candidate
from dsl.fingerprint import fingerprint
from dsl.probe import probe, trajectory
from dsl.text import parse
from dsl.validate import checked
from search.controller import uniform
from search.discovery import rule_of
from search.language import Language
from search.settings import LanguageSettings
from tests.benchmarks.results import record
from workers.population import RowResult, train_population
from workers.protocol import Protocol
from workers.tasks.registry import TASKS

SAMPLED, GROUPS, TRAINED, STEPS = 100_000, (1, 2, 3), 400, 40
RATES = (1e-4, 1e-2)
"""Times the change of a typical weight: rules of all scales are trained at comparable steps."""

TOGETHER = 1e-6
"""Weights that differ by no more, relative to how far they have moved, are together."""

NUDGE, LEVER = 1.0 + 2.0**-24, 10.0
"""Rules part if their weights differ by more than ten times what a learning rate that differs in
the last digit of a float32 makes of them."""

TELLING = 1e-2
"""Where that makes more, the run magnifies all differences and tells nothing."""

Pair = tuple[str, str]


@dataclass
class Sample:
    """Strings of a language and what became of them."""

    drawn: int = 0
    refused: int = 0
    forms: dict[str, str] = field(default_factory=dict)
    """Canonical form to the text that said it first."""
    prints: dict[str, str] = field(default_factory=dict)
    """Fingerprint to the canonical form that had it first."""
    by_form: list[Pair] = field(default_factory=list)
    """Different texts of equal canonical forms."""
    by_print: list[Pair] = field(default_factory=list)
    """Different canonical forms of equal fingerprints."""
    near: list[Pair] = field(default_factory=list)
    """Canonical forms of different fingerprints, said by strings that differ in one token."""
    seconds: dict[str, float] = field(default_factory=dict)


def _timed(seconds: dict[str, float], name: str, work: Callable[[], str | None]) -> str | None:
    began = time.process_time()
    found = work()
    seconds[name] = seconds.get(name, 0.0) + time.process_time() - began
    return found


def sample(groups: int, count: int, seed: int) -> Sample:
    """Draw strings of `groups` groups and merge what is equal."""
    language = Language(LanguageSettings(groups=groups))
    generator = torch.Generator().manual_seed(seed)
    found = Sample(drawn=count)
    for tokens in uniform(language, count, generator).tokens.tolist():
        text = _timed(found.seconds, "decode", partial(language.decode, tokens)) or ""
        form = _timed(found.seconds, "form", partial(rule_of, text))
        if form is None:
            found.refused += 1
            continue
        first = found.forms.setdefault(form, text)
        if first is not text:
            # of two draws the first in a text has the first random numbers, so their order counts
            if first != text and form.count("drop") + form.count("noise") < 2:
                found.by_form.append((first, text))
            continue
        look = partial(fingerprint, form, canonical=True)
        name = _timed(found.seconds, "fingerprint", look) or ""
        twin = found.prints.setdefault(name, form)
        if twin != form:
            found.by_print.append((twin, form))
        if len(found.near) < TRAINED:
            near = rule_of(language.decode(_neighbour(language, tokens, generator)))
            if near and near != form and fingerprint(near, canonical=True) != name:
                found.near.append((form, near))
    return found


def _neighbour(language: Language, tokens: list[int], generator: torch.Generator) -> list[int]:
    """Return an allowed string with one other token."""
    while True:
        place = int(torch.randint(len(tokens), (), generator=generator))
        other = list(tokens)
        legal = language.mask(torch.tensor([tokens[:place]], dtype=torch.int64))[0].nonzero()
        other[place] = int(legal[int(torch.randint(len(legal), (), generator=generator))])
        if other != tokens and language.allows(other):
            return other


def scales(pair: Pair) -> tuple[float, float]:
    """Return the sizes of two rules' updates where gradients are as large as in training.

    Their ratio is that of the updates along all of the probe, as the fingerprint takes it.
    """
    gradients, _ = probe()
    sizes = [trajectory(checked(parse(text)), text).updates.abs() for text in pair]
    shown = [size[size.isfinite() & (size != 0.0)] for size in sizes]
    typical = (gradients.abs() > 1e-3) & (gradients.abs() < 1e-1)
    there = sizes[0][typical & sizes[0].isfinite() & (sizes[0] != 0.0)]
    if not shown[0].numel() or not shown[1].numel():
        return 1.0, 1.0
    first = float((there if there.numel() else shown[0]).median())
    second = first * float(shown[1].median() / shown[0].median())
    # a learning rate must be a number, whatever a rule blows up to
    sound = all(1e-250 < size < 1e250 for size in (first, second))
    return (first, second) if sound else (1.0, 1.0)


def part(pairs: Sequence[Pair], scaled: bool) -> list[tuple[bool | None, float, Pair]]:
    """Train both rules of each pair, at several rates, and compare their weights.

    Returns:
        For each pair whether the two part (None where neither moves a weight or ends soundly, or
        rounding errors grow), by how much at most, and the pair.
    """
    rows = []
    for pair in pairs:
        one, other = scales(pair)
        sizes = (one, other if scaled else one)
        for rate in RATES:
            rows += [
                Candidate(rule=pair[0], lr=rate / sizes[0] * NUDGE),
                Candidate(rule=pair[0], lr=rate / sizes[0]),
                Candidate(rule=pair[1], lr=rate / sizes[1]),
            ]
    results = train_population(
        TASKS["digits-mlp"],
        rows,
        Protocol(steps=STEPS),
        dtype=torch.float64,
        points=1,
        keep_weights=True,
    )
    start = _flat(dict(TASKS["digits-mlp"].initial(0).double().named_parameters()))
    found = []
    for i, pair in enumerate(pairs):
        own = results[3 * len(RATES) * i : 3 * len(RATES) * (i + 1)]
        known, parts = [], False
        for nudged, one, other in zip(own[::3], own[1::3], own[2::3], strict=True):
            control, gap = _gap(start, nudged, one), _gap(start, one, other)
            if control is not None and control < TELLING and gap is not None:
                known.append(gap)
                parts = parts or gap > max(TOGETHER, LEVER * control)
        worst = max(known, default=0.0)
        found.append((parts if known else None, worst, pair))
    return found


def _flat(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.detach().flatten() for value in weights.values()])


def _gap(start: Tensor, one: RowResult, other: RowResult) -> float | None:
    """Return how far two runs part, relative to how far they went; None where nothing is known."""
    if one.weights is None or other.weights is None:
        # both diverge, or one does at the last step of a run that explodes
        return None if one.weights is other.weights else math.inf
    ours, theirs = _flat(one.weights), _flat(other.weights)
    moved = float((ours - start).abs().max())
    return float((ours - theirs).abs().max()) / moved if moved else None


def _few(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Return evenly chosen pairs."""
    step = max(1, len(pairs) // count)
    return list(pairs[::step][:count])


def _report(
    name: str, groups: int, found: Sequence[tuple[bool | None, float, Pair]], wrong: bool
) -> None:
    told = [entry for entry in found if entry[0] is not None]
    bad = [entry for entry in told if entry[0] is wrong]
    what = "false merges" if wrong else "missed merges"
    print(f"  {name}: {len(found)} pairs trained, {len(told)} of them tell, {len(bad)} {what}")
    record(f"{what} of {name}, {groups} groups", len(bad), "pairs", told=len(told))
    for _, gap, (one, other) in bad[:5]:
        print(f"    {gap:.1e}: {one!r} and {other!r}".replace("\\n", "; "))


def main() -> None:
    """Sample, merge, train, and print."""
    torch.set_num_threads(1)
    for groups in GROUPS:
        count = SAMPLED // len(GROUPS) + (groups == GROUPS[0]) * (SAMPLED % len(GROUPS))
        found = sample(groups, count, groups)
        sound = found.drawn - found.refused
        forms, prints = len(found.forms), len(found.prints)
        print(
            f"{groups} groups: {found.drawn} sampled, {found.refused} refused, {sound} sound; "
            f"{sound - forms} merged by canonical form, {forms - prints} more by fingerprint, "
            f"{prints} distinct"
        )
        costs = {"decode": found.drawn, "form": found.drawn, "fingerprint": forms}
        print(
            "  microseconds a rule:",
            ", ".join(f"{n} {1e6 * found.seconds[n] / count:.0f}" for n, count in costs.items()),
        )
        few = TRAINED // len(GROUPS)
        _report("equal forms", groups, part(_few(found.by_form, few), False), True)
        _report("equal fingerprints", groups, part(_few(found.by_print, few), True), True)
        _report("neighbours", groups, part(_few(found.near, few), True), False)


if __name__ == "__main__":
    main()
