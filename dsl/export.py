"""A rule as one Python file: a torch optimizer that needs nothing of this project.

The file's update lines are the very lines that were trained (`dsl.emit`).
"""

import math
import textwrap
from collections.abc import Mapping

from dsl.candidate import Decay
from dsl.compile import CompiledRule, compile_rule
from dsl.emit import Lines, emit
from dsl.export_names import FILE_NAMES, argument
from dsl.export_scalars import ScalarPart
from dsl.export_text import DRAWN, DRAWS, FILE, FITTED, LOAD, REDUCED, REDUCTIONS, TOGETHER
from dsl.files import WIDTH, indented, plain, words, wrapped
from dsl.stepping import SMALL_ON_CPU, SMALL_ON_GPU, each_piece
from dsl.text import LARGEST, format_rule, parse
from dsl.validate import check, checked

__all__ = ["check_arguments", "docstring", "formula", "to_torch"]

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


_STRICT = ("clamp(", "lerp_(", "where(")
"""Functions of torch that raise where a float is too large for the tensors beside it."""

_SAID = 4
"""Lines that a file says of where it comes from."""

LINES = 120
"""Files are shorter where they can be: at this length they lose blank lines."""


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

    It has fewer than 120 lines for every rule of the catalogue and for what the search samples;
    a rule written by hand may be as long as the language allows, and so may its file.

    torch's schedulers drive the class; OneCycleLR and CyclicLR need cycle_momentum=False unless
    the rule has a hyperparameter called momentum.

    Args:
        text: The rule.
        name: Name of the optimizer class.
        hyperparameters: Defaults that differ from the rule's own.
        weight_decay: Default λ.
        decay: How it is applied, see `dsl.candidate.Decay`; with `none` the class has no λ.
        lr: Default learning rate; without one the class demands it.
        provenance: Where the rule comes from, for the file's docstring.

    Raises:
        RuleError: The text is no rule, or its update ignores the gradient.
        ValueError: The name is no class name, a hyperparameter is unknown or a number not finite.
    """
    check(parse(text))
    rule = compile_rule(text)
    own = dict(hyperparameters or {})
    check_arguments(
        name, own, rule.hyperparameters, decay, {"lr": lr, "weight_decay": weight_decay}
    )
    lines = emit(checked(parse(text)))
    options = {argument(each): own.get(each, value) for each, value in rule.hyperparameters.items()}
    options |= {} if decay == "none" else {"weight_decay": weight_decay}
    options |= _choices(rule)
    part = ScalarPart(lines, {**rule.hyperparameters, **own})
    body = "\n".join([*lines.scalar_lines, *lines.update_lines, lines.result])
    signature = ["self", "params", "lr" if lr is None else f"lr={lr!r}", "*"]
    signature += ["total_steps"] * rule.uses_time
    signature += [f"{key}={value!r}" for key, value in options.items()]
    given = ["model.parameters()", *["lr=0.01"] * (lr is None)]
    usage = f"optimizer = {name}({', '.join(given + ['total_steps=1000'] * rule.uses_time)})"
    source = FILE.format(
        doc=docstring(name, formula(text, decay), usage, provenance),
        functions=_functions(lines, body, decay, part),
        name=name,
        title=f"w <- w - lr * u with u = {_title(text)}",
        signature=wrapped(signature, 17),
        bounds=_bounds(decay, rule.uses_time),
        **_shell(lines, body, decay, part, _outgrows(rule, lines, {**rule.hyperparameters, **own})),
    )
    return source if source.count("\n") < LINES - 1 else _tight(source)


def _choices(rule: CompiledRule) -> dict[str, float]:
    """Return the options of the class that every rule of this kind has, and their defaults."""
    choices: dict[str, float] = {"seed": 0} if rule.uses_randomness else {}
    choices["maximize"] = False
    choices |= {} if rule.uses_randomness or rule.uses_reductions else {"foreach": True}
    return choices | {"compiled": False}


def _tight(source: str) -> str:
    """Leave out blank lines of a file that is too long, between methods only if need be."""
    head, start, rest = source.replace("\n\n\n", "\n\n").partition("\nclass ")
    longer = (head + start + rest).count("\n") >= LINES - 1
    return head + start + (rest.replace("\n\n", "\n") if longer else rest)


def check_arguments(
    name: str,
    given: Mapping[str, float],
    known: Mapping[str, float],
    decay: str,
    numbers: Mapping[str, float | None],
) -> None:
    """Raise ValueError for an argument of an exporter that has no meaning."""
    if not name.isidentifier() or not name.isascii() or name in FILE_NAMES:
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


def _outgrows(rule: CompiledRule, lines: Lines, given: Mapping[str, float]) -> bool:
    """Whether a step's numbers may be too large for the functions of torch that they go to.

    In training they are cast, and infinite; given as floats they would raise.
    """
    code = [*lines.update_lines, lines.result]
    handed = words("\n".join(line for line in code if any(each in line for each in _STRICT)))
    memory: dict[str, float] = {}
    return any(
        name in handed and abs(float(value)) > LARGEST
        for t in (0.0, 1.0, 10.0, 100.0, 1000.0)
        for name, value in zip(lines.scalars, rule.scalars(t, 1000.0, given, memory), strict=True)
    )


def _shell(
    lines: Lines, body: str, decay: Decay, part: ScalarPart, outgrows: bool
) -> dict[str, str]:
    """Return the parts of the class that depend on what the rule uses."""
    draws = "draw" in words(body)
    eta = "eta" in lines.hyperparameters
    before: list[str] = []
    if decay == "paper" or eta:
        initial = 'group.get("initial_lr", group["lr"])'
        before.append(f'eta = group["lr"] / base if (base := {initial}) else 1.0')
    parameters = ['for p in (p for p in group["params"] if p.grad is not None):']
    if draws:
        parameters = ['for p in group["params"]:', "    first += p.numel()"]
        parameters += ["    if p.grad is None:", "        continue"]
    start = ["step=0", *["memory={}"] * lines.recurrent]
    start += ["**{k: torch.full_like(w, x) for k, x in SLOTS.items()}"] * bool(lines.slots)
    row = [
        '(-g if group["maximize"] else g).to(w.dtype)',
        "w",
        *["*(state[k] for k in SLOTS)"] * bool(lines.slots),
    ]
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
    shared, own = _values(lines, decay, part)
    return {
        "load": LOAD if lines.slots else "",
        "begin": indented([f"work, half{', first' * draws} = {{}}, []{', 0' * draws}"], 8),
        "before": indented(before, 12) + shared + indented(parameters, 12),
        "start": indented([f"state.update({wrapped(start, 13, inset=20)})"], 20),
        "small": indented(small, 16),
        "values": own,
        "row": wrapped(row, 23, "[]"),
        "key": wrapped(key, 23, "()"),
        "unpacked": f"({', '.join(unpacked)})",
        "loop": FITTED * outgrows + loop,
    }


def _values(lines: Lines, decay: Decay, part: ScalarPart) -> tuple[str, str]:
    """Return the lines that find the numbers of a step: for a group, and for a parameter of it."""
    values = ['group["lr"]', *[_DECAYS[decay][1]] * (decay != "none")]
    if lines.scalars:
        values.append(f"*{part.call()}")
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
    update += [*lines.update_lines, f"u = {lines.result}"]
    update += [f"w{'.mul_(kept)' * ('kept' in numbers)}.sub_(lr * u)"]
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
    return f"({names[0]},)" if len(names) == 1 else wrapped(names, 0, "()", always=False, inset=13)


def _functions(lines: Lines, body: str, decay: Decay, part: ScalarPart) -> str:
    """Return the module's functions: what the lines call, then the scalars and the update."""
    used = words(body)
    parts: list[str] = []
    if "draw" in used:
        used |= {"mix", "stream"}
    parts += [source for name, source in DRAWS.items() if name in used]
    parts += [source for reduction, source in REDUCTIONS.items() if reduction in used]
    parts += part.functions()
    parts.append(_advance(lines, body, decay))
    if not _whole(body):
        parts.append(plain(each_piece))
    constants = part.constants()
    if lines.slots:
        initial = (f'"{s.name}": {s.initial!r}'.replace("inf", "math.inf") for s in lines.slots)
        constants.append(f"SLOTS = {wrapped(list(initial), 8, '{}')}")
    head = [*part.heads(), *["\n".join(constants) + "\n"] * bool(constants)]
    source = "\n\n".join(head + parts)
    return "\n" * source.startswith("def") + source


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
    said = f"{name}, an optimizer exported from Rulesmith. {said}"
    shown = [part for line in formula for part in textwrap.wrap(line, WIDTH - 8)]
    blocks = [
        textwrap.fill(said.strip(), WIDTH - 3, max_lines=_SAID, placeholder=" ..."),
        "",
        *(f"    {line}" for line in shown),
        "",
        f"Usage: {usage}",
    ]
    return "\n".join(blocks)
