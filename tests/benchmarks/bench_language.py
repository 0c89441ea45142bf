"""When two texts are one rule: what canonical form and fingerprint merge, and whether rightly.

100,000 strings of the language `nos` are drawn evenly, of one, two and three groups. Printed are
how many a static check refuses, how many of the others have a canonical form that came before,
how many of the forms have a fingerprint that came before, and what each of that costs.

Then rules are trained beside each other in float64, one row each, with equal seeds, on tasks with
and without weights that begin at 0 and gradients that are exactly 0. The learning rate is divided
by the scale of the rule, as a tuned one would be: of each, where scale does not count.

- False merges: pairs whose texts differ and that count as one rule, by the canonical form or by
  the fingerprint, but whose weights part. Of those that the fingerprint alone merges every one is
  trained. Forms are equal in exact arithmetic: sign(g^3) is sign(g), although g^3 underflows to 0
  first.
- Missed merges: pairs of strings that differ in one token and count as two rules, but whose
  weights stay together. That they do on these data for these steps does not make them one rule,
  so this is an upper bound.
- Rules that are written in another way by an identity that the canonical form does not know, but
  have another fingerprint. Those are one rule, so this is what is missed for certain.

`python -m tests.benchmarks.bench_language 7` draws other strings.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from dsl.candidate import Candidate
from dsl.compile import compile_rule
from dsl.expression import Call, Expression, Node, Number
from dsl.fingerprint import fingerprint
from dsl.operands import BARE
from dsl.probe import TIMES, TOTAL, probe
from dsl.randomness import Draw
from dsl.text import format_rule, parse
from dsl.trajectory import trajectory
from dsl.validate import checked
from search.controller import uniform
from search.discovery import rule_of
from search.language import Language
from search.settings import LanguageSettings
from tests.benchmarks.results import record
from workers.population import RowResult, train_population
from workers.protocol import Protocol
from workers.tasks.registry import TASKS

SAMPLED, GROUPS, TRAINED, STEPS = 100_000, (1, 2, 3), 1200, 40
RATES = (1e-4, 1e-2)
"""Times the change of a typical weight: rules of all scales are trained at comparable steps."""

TOGETHER = 1e-6
"""Weights that differ by no more, relative to how far they have moved, are together."""

CONDITIONS = ("digits-mlp", "sparse-logistic")
"""Tasks to train on: dense gradients and random first weights; rare ones and first weights of 0."""

AT_ONCE = 64
"""Pairs that are trained as one population."""

NUDGE, LEVER = 2.0**-24, 10.0
"""Rules part if their weights differ by more than ten times what a change of the last digit of a
float32 makes of either's, up in some weights and down in others, at every step: were all changed
alike, weights that cancel would cancel still, and what amplifies all else would not show."""

TELLING = 1e-2
"""Where that makes more, the run magnifies all differences and tells nothing."""

Pair = tuple[str, str]
Found = TypeVar("Found")


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
            if first != text and _draws(form) < 2:
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


def _draws(form: str) -> int:
    """Return how often a rule draws: of two draws the first in its text has the first numbers."""
    return form.count("drop") + form.count("noise")


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
    """Return the sizes of two rules' updates where gradients and weights are as in training.

    Their ratio is the usual one along the probe: that of all updates, where the two are one rule.
    """
    sizes = [trajectory(checked(parse(text)), text).updates.abs() for text in pair]
    one, other = (size.isfinite() & (size != 0.0) for size in sizes)
    first = _typical(pair[0])
    if first is None or not (one & other).any():
        return 1.0, 1.0
    second = first * float((sizes[1] / sizes[0])[one & other].median())
    # a learning rate must be a number, whatever a rule blows up to
    sound = all(1e-303 < size < 1e303 for size in (first, second))
    return (first, second) if sound else (1.0, 1.0)


def _typical(text: str) -> float | None:
    """Return the mean size of usual updates, None if none is a finite number but 0.

    Where few are far larger than all others, as with g^3, steps of their size must not diverge.
    """
    rule = compile_rule(text)
    update, (gradients, weights) = rule.bind(), probe()
    state, memory, sizes = rule.initial_state(gradients[0]), dict[str, float](), []
    for t, g, w in zip(TIMES, gradients, weights, strict=True):
        scalars = rule.scalars(t, TOTAL, rule.hyperparameters, memory)
        sizes.append(update(g, w, state, scalars, Draw(0, t)).abs().expand_as(g).clone())
    found = torch.stack(sizes)
    shown = found.isfinite() & (found != 0.0)
    usual = _between(gradients, 1e-3, 1e-1) & _between(weights, 1e-2, 1.0) & shown
    chosen = found[usual if usual.any() else shown]
    return float(chosen.mean()) if chosen.numel() else None


def _between(values: Tensor, low: float, high: float) -> Tensor:
    return (values.abs() > low) & (values.abs() < high)


def nudged(form: str) -> str:
    """Return the rule with updates that are larger or smaller by `NUDGE`, at random."""
    program = parse(form)
    factor = parse(f"1 + {NUDGE!r} * sign(noise(3))").update  # drawn last: all else draws as before
    return format_rule(Expression(program.lines, Call("mul", (program.update, factor))))


def part(pairs: Sequence[Pair], scaled: bool) -> list[tuple[bool | None, float, Pair]]:
    """Train both rules of each pair, on every task at several rates, and compare their weights.

    Returns:
        For each pair whether the two part anywhere (None where neither moves a weight or ends
        soundly, or rounding errors grow), by how much at most, and the pair.
    """
    found = []
    for start in range(0, len(pairs), AT_ONCE):
        some = pairs[start : start + AT_ONCE]
        tasks = [_parted(name, some, scaled) for name in CONDITIONS]
        for pair, *gaps in zip(some, *tasks, strict=True):
            known = [gap for task in gaps for gap in task]
            worst = max((gap for gap, _ in known), default=0.0)
            found.append((any(parts for _, parts in known) if known else None, worst, pair))
    return found


def _parted(name: str, pairs: Sequence[Pair], scaled: bool) -> list[list[tuple[float, bool]]]:
    """Return for each pair, at each rate that tells, how far the two part on a task, and if so."""
    rows = []
    for pair in pairs:
        one, other = scales(pair)
        sizes = (one, other if scaled else one)
        for rate in RATES:
            rows += [
                Candidate(rule=rule, lr=rate / size)
                for text, size in zip(pair, sizes, strict=True)
                for rule in (text, nudged(text))
            ]
    protocol = Protocol(steps=STEPS)
    results = train_population(
        TASKS[name], rows, protocol, dtype=torch.float64, points=1, keep_weights=True
    )
    start = _flat(dict(TASKS[name].initial(0).double().named_parameters()))
    found: list[list[tuple[float, bool]]] = [[] for _ in pairs]
    for place in range(0, len(results), 4):
        one, nearly_one, other, nearly_other = results[place : place + 4]
        controls = _gap(start, one, nearly_one), _gap(start, other, nearly_other)
        gap = _gap(start, one, other)
        amplified = max((control for control in controls if control is not None), default=None)
        if amplified is not None and amplified < TELLING and gap is not None:
            parts = gap > max(TOGETHER, LEVER * amplified)
            found[place // (4 * len(RATES))].append((gap, parts))
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


def rewritten(form: str) -> str | None:
    """Return a rule said in another way that the canonical form keeps, None if it has no such way.

    Powers of e are multiplied, bounds and signs said by cases, products spread over sums.
    """
    if _draws(form) > 1:
        return None
    program = parse(form)
    found = format_rule(Expression(program.lines, _otherwise(program.update)))
    other = rule_of(found)
    return None if other in (None, form) else other


def _otherwise(node: Node) -> Node:
    if not isinstance(node, Call):
        return node
    operator, arguments = node.operator, tuple(map(_otherwise, node.arguments))
    x = arguments[0] if arguments else Number(0.0)
    zero = Number(0.0)
    if operator in ("ema", "debias", "drop", "noise", *BARE):
        return node
    if operator == "exp" and isinstance(x, Call) and x.operator in ("add", "sub"):
        powers = tuple(Call("exp", (term,)) for term in x.arguments)
        return Call({"add": "mul", "sub": "div"}[x.operator], powers)
    if operator == "abs":
        return Call("max", (x, Call("sub", (zero, x))))
    if operator == "clip":
        bound = arguments[1]
        return Call("max", (Call("min", (x, bound)), Call("sub", (zero, bound))))
    if operator == "sign":
        falls = Call("where", (Call("sub", (zero, x)), Number(-1.0), zero))
        return Call("where", (x, Number(1.0), falls))
    if operator == "mul" and isinstance(arguments[1], Call) and arguments[1].operator == "add":
        return Call("add", tuple(Call("mul", (x, term)) for term in arguments[1].arguments))
    return Call(operator, arguments)


def _few(found: Sequence[Found], count: int) -> list[Found]:
    """Return evenly chosen ones."""
    step = max(1, len(found) // count)
    return list(found[::step][:count])


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


def _rewriting(forms: Sequence[str], groups: int) -> None:
    """Print how many rules lose their fingerprint when they are said in another way."""
    pairs = [(form, other) for form in forms if (other := rewritten(form))]
    lost = [(a, b) for a, b in pairs if fingerprint(a) != fingerprint(b)]
    print(
        f"  rewritten: {len(pairs)} rules said in another way, {len(lost)} of them not known again"
    )
    record(f"rules not known again, {groups} groups", len(lost), "rules", told=len(pairs))
    for one, other in lost[:5]:
        print(f"    {one!r} and {other!r}".replace("\\n", "; "))


def main(seed: int = 0) -> None:
    """Sample, merge, train, and print."""
    torch.set_num_threads(1)
    for groups in GROUPS:
        count = SAMPLED // len(GROUPS) + (groups == GROUPS[0]) * (SAMPLED % len(GROUPS))
        found = sample(groups, count, 10 * seed + groups)
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
        _report("equal fingerprints", groups, part(found.by_print, True), True)
        _report("neighbours", groups, part(_few(found.near, few), True), False)
        _rewriting(_few(list(found.forms), few), groups)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
