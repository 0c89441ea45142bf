"""A rule as one Python file: a torch optimizer that needs nothing of this project.

The file's update lines are the very lines that were trained (`dsl.emit`).
"""

import ast
import builtins
import keyword
import math
import textwrap
from collections.abc import Callable, Mapping

from dsl import randomness, scalars
from dsl.candidate import Decay
from dsl.compile import Widened, compile_rule
from dsl.emit import CLAMP, Lines, emit
from dsl.export_text import DRAWN, FILE, LOAD, REDUCED, REDUCTIONS, TOGETHER
from dsl.files import WIDTH, called, indented, plain, words, wrapped
from dsl.stepping import SMALL_ON_CPU, SMALL_ON_GPU, each_piece
from dsl.text import format_rule, parse
from dsl.validate import checked

__all__ = ["argument", "check_arguments", "docstring", "formula", "to_torch"]

_FILE_NAMES = frozenset(
    {"FLOATS", "SLOTS", "TENSORS", "advance", "changes", "cos", "draw", "each_piece", "eta", "exp"}
    | {"first", "g", "group", "lr", "jax", "jnp", "log", "math", "mean", "memory", "mix", "norm"}
    | {"normal", "now", "number", "numbers", "optax", "params", "pi", "rms", "rows", "scalars"}
    | {"self", "sqrt", "state", "stream", "t", "torch", "u", "uniform", "update", "values", "w"}
    | {"wide", "Any", "NamedTuple", "T", "_", "__class__", *dir(builtins), *keyword.kwlist}
)
"""What the lines of exported files use otherwise: no class has such a name."""

_GROUP_NAMES = frozenset(
    {"base_momentum", "compiled", "defaults", "foreach", "initial_lr", "key", "least", "max_lr"}
    | {"max_momentum", "maximize", "min_lr", "seed", "swa_lr", "total_steps", "weight_decay"}
)
"""What the class, or torch's schedulers, keep in a parameter group."""

_DECAYS: Mapping[Decay, tuple[str, str]] = {
    "none": ("", ""),
    "l2": ("g <- g + weight_decay * w first", 'group["weight_decay"]'),
    "decoupled": (
        "w <- w - lr * weight_decay * w beside it",
        '1.0 - group["lr"] * group["weight_decay"]',
    ),
    "paper": (
        "w <- w - (lr / initial lr) * weight_decay * w beside it",
        '1.0 - eta * group["weight_decay"]',
    ),
}
"""What each does, and the number that a step needs for it: λ, or what it keeps of the weights."""


_ON_FLOATS = {name: f"math.{name}" for name in ("cos", "exp", "log", "pi", "sqrt")}

_ON_TENSORS = {name: f"torch.{name}" for name in ("cos", "exp", "log", "sign", "sqrt", "where")}
_ON_TENSORS |= {"max": "torch.maximum", "min": "torch.minimum", "pi": "math.pi"}

_WIDE = '''def wide(x):
    """Return a float64 tensor: divided by 0 it is infinite, where Python would raise."""
    return torch.tensor(float(x), dtype=torch.float64)


'''


def to_torch(
    text: str,
    name: str = "Rule",
    hyperparameters: Mapping[str, float] | None = None,
    *,
    weight_decay: float = 0.0,
    decay: Decay = "none",
    lr: float | None = None,
    provenance: str | None = None,
) -> str:
    """Return a Python file that imports only torch and math.

    It has fewer than 120 lines for every rule of the catalogue.

    Args:
        text: The rule.
        name: Name of the optimizer class.
        hyperparameters: Defaults that differ from the rule's own.
        weight_decay: Default λ.
        decay: How it is applied, see `dsl.candidate.Decay`; with `none` the class has no λ.
        lr: Default learning rate; without one the class demands it.
        provenance: Where the rule comes from, for the file's docstring.

    Raises:
        RuleError: The text is no rule.
        ValueError: The name is no class name, a hyperparameter is unknown or a number not finite.
    """
    rule = compile_rule(text)
    own = dict(hyperparameters or {})
    check_arguments(
        name, own, rule.hyperparameters, decay, {"lr": lr, "weight_decay": weight_decay}
    )
    lines = emit(checked(parse(text)))
    numbers = {argument(each): own.get(each, value) for each, value in rule.hyperparameters.items()}
    options: dict[str, object] = {**numbers}
    if decay != "none":
        options["weight_decay"] = weight_decay
    if rule.uses_randomness:
        options["seed"] = 0
    options["maximize"] = False
    options |= {} if rule.uses_randomness or rule.uses_reductions else {"foreach": True}
    options["compiled"] = False
    body = "\n".join([*lines.scalar_lines, *lines.update_lines, lines.result])
    signature = ["self", "params", "lr" if lr is None else f"lr={lr!r}", "*"]
    signature += ["total_steps"] * rule.uses_time
    signature += [f"{key}={value!r}" for key, value in options.items()]
    given = ["model.parameters()", *["lr=0.01"] * (lr is None)]
    usage = f"optimizer = {name}({', '.join(given + ['total_steps=1000'] * rule.uses_time)})"
    return FILE.format(
        doc=docstring(name, formula(text, decay), usage, provenance),
        functions=_functions(
            lines, body, decay, rule.floats_suffice({**rule.hyperparameters, **own})
        ),
        name=name,
        title=f"w <- w - lr * u with u = {_title(text)}",
        signature=wrapped(signature, 17),
        bounds=_bounds(decay, rule.uses_time),
        **_shell(lines, body, decay),
    )


def check_arguments(
    name: str,
    given: Mapping[str, float],
    known: Mapping[str, float],
    decay: str,
    numbers: Mapping[str, float | None],
) -> None:
    """Raise ValueError for an argument of an exporter that has no meaning."""
    if not name.isidentifier() or not name.isascii() or name in _FILE_NAMES:
        raise ValueError(f"name = {name!r}, but it must be a Python class name such as 'PowerSign'")
    for key in sorted(set(given) - set(known)):
        allowed = ", ".join(known) or "none"
        raise ValueError(f"the rule has no hyperparameter '{key}'; it has: {allowed}")
    if decay not in _DECAYS:
        raise ValueError(f"there is no decay {decay!r}; allowed: {', '.join(_DECAYS)}")
    if decay == "none" and numbers["weight_decay"]:
        raise ValueError(
            f"weight_decay = {numbers['weight_decay']} has no effect with decay='none'; choose one "
            f"of {', '.join(list(_DECAYS)[1:])}"
        )
    for key, value in {**given, **numbers}.items():
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{key} = {value}, but it must be finite")


def _shell(lines: Lines, body: str, decay: Decay) -> dict[str, str]:
    """Return the parts of the class that depend on what the rule uses."""
    draws = "draw" in words(body)
    eta = "eta" in lines.hyperparameters
    before: list[str] = []
    if decay == "paper" or eta:
        initial = 'group.get("initial_lr", group["lr"])'
        before.append(f'eta = group["lr"] / initial if (initial := {initial}) else 1.0')
    parameters = ['for p in (p for p in group["params"] if p.grad is not None):']
    if draws:
        parameters = ['for p in group["params"]:', "    first += p.numel()"]
        parameters += ["    if p.grad is None:", "        continue"]
    start = "step=0" + ", memory={}" * lines.recurrent
    if lines.slots:
        start += ", **{k: torch.full_like(w, x) for k, x in SLOTS.items()}"
    row = ["g", "w", *["*(state[k] for k in SLOTS)"] * bool(lines.slots)]
    key = ["values", 'group["compiled"]']
    unpacked = ["values", "compiled"]
    small = ["flat = all(x.is_contiguous() for x in row)"]
    if _whole(body):
        loop = DRAWN if draws else REDUCED
    else:
        limit = f"({SMALL_ON_CPU} if w.is_cpu else {SMALL_ON_GPU})"
        small.append(f'small = flat and group["foreach"] and w.numel() < {limit}')
        key += ["small", "flat or w.shape[1:]"]
        unpacked.append("small")
        loop = TOGETHER
    if draws:
        key += ['group["seed"]', 'state["step"]', "first - p.numel()"]
        unpacked.append("*draw")
    else:
        key += ["w.dtype", "w.device"]
        unpacked.append("*_")
    shared, own = _values(lines, decay, body)
    return {
        "load": LOAD if lines.slots else "",
        "begin": indented([f"work, half{', first' * draws} = {{}}, []{', 0' * draws}"], 8),
        "before": indented(before, 12) + shared + indented(parameters, 12),
        "start": indented([f"state.update({start})"], 20),
        "small": indented(small, 16),
        "values": own,
        "row": wrapped(row, 23, "[]"),
        "key": wrapped(key, 23, "()"),
        "unpacked": f"({', '.join(unpacked)})",
        "loop": loop,
    }


def _values(lines: Lines, decay: Decay, body: str) -> tuple[str, str]:
    """Return the lines that find the numbers of a step: for a group, and for a parameter of it."""
    values = ['group["lr"]', *[_DECAYS[decay][1]] * (decay != "none")]
    if lines.scalars:
        given = [*_scalar_arguments(lines, 'state["step"]', _total(body), 'state["memory"]')]
        eta = '**{**group, "eta": group["eta"] * eta}'
        given.append(eta if "eta" in lines.hyperparameters else "**group")
        values.append(f"*scalars({', '.join(given)})")
    values[-1] += "," * (len(values) == 1)
    if not any("state[" in value for value in values):
        return f"{' ' * 12}values = {wrapped(values, 21, '()')}\n", ""
    if lines.recurrent:  # each parameter has running products of its own
        return "", f"{' ' * 16}values = {wrapped(values, 25, '()')}\n"
    known = f'{" " * 16}values = known.get(state["step"]) or known.setdefault(state["step"], (\n'
    return f"{' ' * 12}known = {{}}\n", f"{known}{' ' * 20}{wrapped(values, 20)}))\n"


def _whole(body: str) -> bool:
    """Tell whether the update needs whole tensors: for reductions, or to number its draws."""
    return bool(words(body) & {"draw", *REDUCTIONS})


def _advance(lines: Lines, body: str, decay: Decay) -> str:
    """Return the function that steps pieces of the weights."""
    numbers = ["lr", *{"none": [], "l2": ["penalty"]}.get(decay, ["kept"]), *lines.scalars]
    update = ["g = g + penalty * w"] * (decay == "l2")
    update += [*lines.update_lines, f"u = {lines.result}", "change = lr * u"]
    update += ["w.mul_(kept)"] * ("kept" in numbers)
    update += ["w.sub_(change)"]
    row = ", ".join(["g", "w", *(slot.name for slot in lines.slots)])
    signature = ", ".join(["values", *["draw"] * ("draw" in words(body)), "rows"])
    code = ['"""Move the state on by one step, and the weights by one along -u."""']
    code += [
        f"{_unpacked(numbers)} = values",
        f"for {row} in rows:",
        *indented(update, 4).splitlines(),
    ]
    return f"def advance({signature}):\n{indented(code, 4)}"


def _unpacked(names: list[str]) -> str:
    """Write names to unpack into, on several lines where they are too long for one."""
    return f"({names[0]},)" if len(names) == 1 else wrapped(names, 4, "()", always=False)


def _functions(lines: Lines, body: str, decay: Decay, floats: bool) -> str:
    """Return the module's functions: what the lines call, then the scalars and the update."""
    used = words(body)
    parts: list[str] = []
    if "draw" in used:
        needed: list[Callable[..., object]] = [randomness.mix, randomness.stream]
        needed += [f for f in (randomness.uniform, randomness.normal) if f.__name__ in used]
        parts += [plain(function) for function in needed]
    parts += [source for reduction, source in REDUCTIONS.items() if reduction in used]
    own = (scalars.sign, scalars.where) if floats else ()
    parts += [plain(function) for function in own if called(function.__name__, lines.scalar_lines)]
    meanings = _ON_FLOATS if floats else _ON_TENSORS
    names = [n for n in meanings if called(n, lines.scalar_lines)]
    constants = f"{', '.join(names)} = {', '.join(meanings[n] for n in names)}\n" * bool(names)
    if lines.slots:
        initial = (f'"{s.name}": {s.initial!r}'.replace("inf", "math.inf") for s in lines.slots)
        constants += f"SLOTS = {wrapped(list(initial), 8, '{}')}\n"
    if lines.scalars:
        parts.append(_scalars(lines) if floats else _wide_scalars(lines))
    parts.append(_advance(lines, body, decay))
    if not _whole(body):
        parts.append(plain(each_piece))
    return (constants + "\n\n" if constants else "\n") + "\n\n".join(parts)


def _scalars(lines: Lines) -> str:
    keys = {argument(name): variable for name, variable in lines.hyperparameters.items()}
    code = ['"""Return what depends on hyperparameters and time alone."""']
    code += renamed(keys)
    # Of whole numbers, t ^ t ^ t would grow without end; as floats they become infinite.
    code += ["now = float(min(t, T))" if line == CLAMP else line for line in lines.scalar_lines]
    code.append(f"return {wrapped(lines.scalars, 11, '[]')}")
    signature = [*_scalar_arguments(lines, "t", "T", "memory"), *keys, "**_"]
    return f"def scalars({wrapped(signature, 12)}):\n{indented(code, 4)}"


def _wide_scalars(lines: Lines) -> str:
    """Write the scalars of a rule for which Python's floats would raise: 1 / 0, say."""
    keys = {argument(name): variable for name, variable in lines.hyperparameters.items()}
    code = ['"""Return what depends on hyperparameters and time, which may be infinite or NaN."""']
    code += [f"{variable} = wide({key})" for key, variable in keys.items()]
    code += [f"{name} = wide({name})" for name in _scalar_arguments(lines, "t", "T", "") if name]
    tree = Widened().visit(ast.parse("\n".join(lines.scalar_lines)))
    code += ast.unparse(ast.fix_missing_locations(tree)).splitlines()
    code += ["memory.update({k: float(x) for k, x in memory.items()})"] * lines.recurrent
    code.append(f"return [float(x) for x in {wrapped(lines.scalars, 30, '[]')}]")
    signature = [*_scalar_arguments(lines, "t", "T", "memory"), *keys, "**_"]
    return f"{_WIDE}def scalars({wrapped(signature, 12)}):\n{indented(code, 4)}"


def renamed(keys: Mapping[str, str]) -> list[str]:
    """Return the line that gives arguments their variables, all at once: one may be another's."""
    pairs = {variable: key for key, variable in keys.items() if key != variable}
    line = f"{', '.join(pairs)} = {', '.join(pairs.values())}"
    if len(line) > WIDTH - 4:
        left, right = wrapped([*pairs], 4, "()"), wrapped([*pairs.values()], 4)
        line = f"{left} = (\n    {right})"
    return [line] * bool(pairs)


def argument(name: str) -> str:
    """Return what the class calls a hyperparameter: with `rule_` where it has another meaning."""
    meant = name in _FILE_NAMES - {"eta"} or name in _GROUP_NAMES
    return f"rule_{name}" if meant or name.startswith(("__", "rule_")) else name


def _scalar_arguments(lines: Lines, t: str, total: str, memory: str) -> list[str]:
    """Choose, of the three, what the scalar lines use."""
    used = words("\n".join(lines.scalar_lines))
    return [given for name, given in (("t", t), ("T", total), ("memory", memory)) if name in used]


def _total(body: str) -> str:
    uses = [line for line in body.splitlines() if line != CLAMP and "T" in words(line)]
    return 'float(group["total_steps"])' if uses else "math.inf"


def _bounds(decay: Decay, timed: bool) -> str:
    bounds = ['("lr", 0)', *['("weight_decay", 0)'] * (decay != "none")]
    bounds += ['("total_steps", 1)'] * timed
    return f"[{', '.join(bounds)}]"


def formula(text: str, decay: Decay) -> list[str]:
    """Return the lines that say what the optimizer does."""
    *lines, update = format_rule(parse(text)).splitlines()
    step = "w <- w - lr * u"
    said = _DECAYS[decay][0]
    return [*lines, f"u = {update}", f"{step}, {said}" if said else step]


def _title(text: str) -> str:
    update = format_rule(parse(text)).splitlines()[-1]
    return f"{update}." if len(update) <= 60 else f"{update[:60]} ..."


def docstring(name: str, formula: list[str], usage: str, provenance: str | None) -> str:
    """Return an exported file's docstring: what it is, where from, formula and usage."""
    said = "".join(c if c.isprintable() else " " for c in provenance or "")
    said = said.replace("\\", "\\\\").replace('"', "'")
    shown = [part for line in formula for part in textwrap.wrap(line, WIDTH - 8)]
    blocks = [
        textwrap.fill(f"{name}, an optimizer exported from Rulesmith. {said}".strip(), WIDTH - 3),
        "",
        *(f"    {line}" for line in shown),
        "",
        f"Usage: {usage}",
    ]
    return "\n".join(blocks)
