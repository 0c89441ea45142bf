"""A rule as one Python file: an optax gradient transformation that needs nothing of this project.

Its lines are printed from the same graph as the torch file's, in JAX's words; the random draws are
the same numbers.
"""

import re
from collections.abc import Mapping

from dsl.candidate import Decay
from dsl.compile import compile_rule
from dsl.dialect import JAX
from dsl.emit import Lines, emit
from dsl.export import check_arguments, docstring, formula
from dsl.export_names import argument, renamed
from dsl.files import called, indented, words, wrapped
from dsl.text import parse
from dsl.validate import check, checked

__all__ = ["to_optax"]

_DRAWS = {
    "mix": '''def mix(x):
    """Permute 32-bit numbers."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> shift)) * jnp.uint32(factor)
    return x ^ (x >> 16)
''',
    "stream": '''def stream(draw, number, like):
    """Return the numbered stream's numbers in [0, 1): multiples of 2^-24, like `like`."""
    seed, t, first = (jnp.asarray(x).astype(jnp.uint32) for x in draw)
    key = mix(mix(mix(seed) ^ t) ^ jnp.uint32((number + 0x9E3779B9) & 0xFFFFFFFF))
    bits = mix(mix(first + jnp.arange(like.size, dtype=jnp.uint32)) ^ key)
    return ((bits >> 8).astype(like.dtype) * 2.0**-24).reshape(like.shape)
''',
    "uniform": '''def uniform(draw, index, like):
    """Return numbers in [0, 1) like `like`, for draw `index` of the rule."""
    return stream(draw, 3 * index, like)
''',
    "normal": '''def normal(draw, index, like):
    """Return standard normal numbers like `like`, for draw `index` of the rule."""
    radius = jnp.sqrt(-2.0 * jnp.log(1.0 - stream(draw, 3 * index + 1, like)))
    return radius * jnp.cos(2.0 * math.pi * stream(draw, 3 * index + 2, like))
''',
}

_REDUCTIONS = {
    "norm": "def norm(x):\n    return jnp.sqrt(jnp.sum(x * x))\n",
    "mean": "def mean(x):\n    return jnp.mean(x)\n",
    "rms": "def rms(x):\n    return jnp.sqrt(jnp.mean(x * x))\n",
}

_SCALARS = {
    "cos": "jnp.cos",
    "exp": "jnp.exp",
    "log": "jnp.log",
    "max": "jnp.maximum",
    "min": "jnp.minimum",
    "pi": "math.pi",
    "sign": "jnp.sign",
    "sqrt": "jnp.sqrt",
    "where": "jnp.where",
}

_FILE = '''"""{doc}"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

{functions}

class {name}State(NamedTuple):
    """The steps taken, running products, and for each slot a list of arrays like the weights."""

    count: Any
    memory: dict
    slots: tuple


def {name}({signature}):
    """{said}"""

    def rate(count):
        return learning_rate(count) if callable(learning_rate) else learning_rate

    def init(params):
        leaves = [jnp.asarray(w, wide(w)) for w in jax.tree.leaves(params)]
        slots = tuple([jnp.full_like(w, x) for w in leaves] for x in {initial})
        return {name}State(jnp.zeros([], jnp.int32), {memory}, slots)

    def step(grads, state, params=None):
        if params is None:
            raise ValueError("{name} needs the weights: update(grads, state, params)")
        leaves, tree = jax.tree.flatten(grads)
        lr, memory, found = rate(state.count), dict(state.memory), []
{eta}        numbers = scalars(state.count, float(total_steps), memory{hyper})
        first = 0
        for g, w, *slots in zip(leaves, tree.flatten_up_to(params), *state.slots):
            p, w, g = w, jnp.asarray(w, wide(w)), jnp.asarray(g, wide(w))
{before}            values = [jnp.asarray(x, g.dtype) for x in numbers]
            u, slots = update(g, w, slots, values, (seed, state.count, first))
            change = {change}
            found.append((change.astype(p.dtype), *slots))
            first += p.size
        changes, *slots = map(list, zip(*found)) if found else ([], *state.slots)
        state = {name}State(state.count + 1, memory, tuple(slots))
        return tree.unflatten(changes), state

    return optax.GradientTransformation(init, step)


def wide(w):
    """Return the type to compute in: float32 for half precision."""
    return jnp.promote_types(w.dtype, jnp.float32)
'''

_NAMES = frozenset(
    {"base_lr", "change", "count", "eta_scale", "fixed", "found", "grads", "init", "leaves"}
    | {"learning_rate", "p", "rate", "reference", "slots", "step", "tree", "x"}
)
"""What the function uses otherwise, beside the names of every exported file."""

_SAID = "Return the transformation; learning_rate is a number or a schedule of optax."

_BASE = """

    Decay and eta go by the rate as a share of base_lr: by default the first rate, or 1 if that
    is 0. A schedule that warms up from 0 needs it: its highest rate, say.
    """

_ETA = """        reference = rate(0) if base_lr is None else base_lr
        fixed = base_lr is None and not callable(learning_rate)
        eta = 1.0 if fixed else lr / jnp.where(reference == 0, 1.0, reference)
"""
"""The learning rate in units of the base rate, which a schedule that warms up from 0 reaches."""

_CHANGES: Mapping[Decay, str] = {
    "none": "-(lr * u)",
    "l2": "-(lr * u)",
    "decoupled": "-(lr * u) - lr * weight_decay * w",
    "paper": "-(lr * u) - eta * weight_decay * w",
}


def to_optax(
    text: str,
    name: str = "Rule",
    hyperparameters: Mapping[str, float] | None = None,
    *,
    weight_decay: float = 0.0,
    decay: Decay = "none",
    lr: float | None = None,
    provenance: str | None = None,
) -> str:
    """Return a Python file that imports only math, typing, jax and optax.

    Its function `name` returns an `optax.GradientTransformation` whose updates are to be added to
    the weights (`optax.apply_updates`). It needs the weights, as `params`. With decay `paper`, or a
    rule that reads `eta`, it takes `base_lr`, of which the rate is a share: torch's `initial_lr`.

    Args:
        text: The rule.
        name: Name of the function.
        hyperparameters: Defaults that differ from the rule's own.
        weight_decay: Default λ.
        decay: How it is applied, see `dsl.candidate.Decay`; with `none` there is no λ.
        lr: Default learning rate; without one the function demands it.
        provenance: Where the rule comes from, for the file's docstring.

    Raises:
        RuleError: The text is no rule, or its update ignores the gradient.
        ValueError: The name is no name, a hyperparameter is unknown or a number not finite.
    """
    check(parse(text))
    rule = compile_rule(text)
    own = dict(hyperparameters or {})
    numbers = {"lr": lr, "weight_decay": weight_decay}
    check_arguments(name, own, rule.hyperparameters, decay, numbers)
    lines = emit(checked(parse(text)), JAX)
    keys = {_key(each): own.get(each, value) for each, value in rule.hyperparameters.items()}
    signature = ["learning_rate" if lr is None else f"learning_rate={lr!r}", "*"]
    signature += ["total_steps" if rule.uses_time else "total_steps=math.inf"]
    signature += [f"{each}={value!r}" for each, value in keys.items()]
    signature += [f"weight_decay={weight_decay!r}"] * (decay != "none") + ["seed=0"]
    relative = decay == "paper" or "eta" in rule.hyperparameters
    signature += ["base_lr=None"] * relative
    given = ["0.01"] * (lr is None) + ["total_steps=1000"] * rule.uses_time
    usage = f"optimizer = {name}({', '.join(given)})"
    initial = "".join(f"{s.initial!r}, ".replace("inf", "math.inf") for s in lines.slots)
    remembered = dict.fromkeys(re.findall(r'memory\["(\w+)"\] =', "\n".join(lines.scalar_lines)))
    passed = [f"{each} * eta" if each == "eta_scale" else each for each in keys]
    return _FILE.format(
        doc=docstring(name, formula(text, decay), usage, provenance),
        functions=_functions(lines),
        name=name,
        said=_SAID + _BASE * relative,
        eta=_ETA * relative,
        signature=wrapped(signature, len(name) + 5),
        initial=f"({initial})",
        memory="{" + ", ".join(f'"{each}": jnp.ones([])' for each in remembered) + "}",
        hyper="".join(f", {each}" for each in passed),
        before=indented(["g = g + weight_decay * w"] * (decay == "l2"), 12),
        change=_CHANGES[decay],
    )


def _key(name: str) -> str:
    """Return what the function calls a hyperparameter."""
    if name == "eta":
        return "eta_scale"
    return f"rule_{name}" if name in _NAMES or name.endswith("State") else argument(name)


def _functions(lines: Lines) -> str:
    """Return the module's functions: draws and reductions, then the scalars and the update."""
    used = words("\n".join(lines.update_body()))
    parts: list[str] = []
    if "draw" in used:
        used |= {"mix", "stream"}
    parts += [source for name, source in {**_DRAWS, **_REDUCTIONS}.items() if name in used]
    keys = [_key(name) for name in lines.hyperparameters]
    names = {name: each for name, each in _SCALARS.items() if called(name, lines.scalar_lines)}
    code = ['"""Return what depends on hyperparameters and time alone."""']
    code += [f"{', '.join(names)} = {', '.join(names.values())}"] * bool(names)
    code += renamed(dict(zip(keys, lines.hyperparameters.values(), strict=True)))
    code += [*lines.scalar_lines, f"return {wrapped(lines.scalars, 11, '[]')}"]
    head = wrapped(["t", "T", "memory", *keys], 12)
    parts.append(f"def scalars({head}):\n{indented(code, 4)}")
    slots = [slot.name for slot in lines.slots]
    code = ['"""Return u, and the state one step on."""']
    for found, source in ((slots, "state"), (lines.scalars, "values")):
        code += [f"{_names(found)} = {source}"] * bool(found)
    code += [*lines.update_lines, f"return {lines.result}, {wrapped(slots, 40, '[]')}"]
    parts.append(f"def update(g, w, state, values, draw):\n{indented(code, 4)}")
    return "\n\n".join(parts)


def _names(found: list[str]) -> str:
    return f"({found[0]},)" if len(found) == 1 else wrapped(found, 4, "()")
