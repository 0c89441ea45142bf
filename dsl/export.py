"""A rule as one Python file: a torch optimizer that needs nothing of this project.

The file's update lines are the very lines that were trained (`dsl.emit`).
"""

import inspect
import keyword
import math
import re
import textwrap
from collections.abc import Callable, Mapping

from dsl import randomness, scalars
from dsl.candidate import Decay
from dsl.compile import compile_rule
from dsl.emit import Lines, emit
from dsl.text import format_rule, parse
from dsl.validate import checked

__all__ = ["to_torch"]

_WIDTH = 92

_RESERVED = frozenset(
    {"lr", "maximize", "params", "seed", "self", "total_steps", "weight_decay"}
    | {"defaults", "initial_lr", "math", "super", "torch", "SLOTS", "ValueError", *keyword.kwlist}
)
"""What the exported class uses otherwise: a hyperparameter so named gets the prefix `rule_`."""

_REDUCTIONS = {
    "norm": "def norm(x):\n    return torch.linalg.vector_norm(x)\n",
    "mean": "def mean(x):\n    return torch.mean(x)\n",
    "rms": "def rms(x):\n    return x.square().mean().sqrt()\n",
}

_DECAYS: Mapping[Decay, tuple[str, str]] = {
    "none": ("", ""),
    "l2": ("g <- g + weight_decay * w first", ""),
    "decoupled": ("w <- w - lr * weight_decay * w beside it", '1.0 - group["lr"] * {decay}'),
    "paper": (
        "w <- w - (lr / initial lr) * weight_decay * w beside it",
        "1.0 - eta * {decay}",
    ),
}

_FILE = '''"""{doc}"""

import math

import torch

{functions}

class {name}(torch.optim.Optimizer):
    """{title}

    Sparse and complex gradients are refused; bfloat16 and float16 weights step in float32.
    """

    def __init__({signature}):
        if not (math.isfinite(lr) and lr >= 0.0):
            raise ValueError(f"lr = {{lr}}, but it must be finite and at least 0")
{checks}        defaults = {defaults}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        """Take one step; `closure` re-evaluates the model and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
{loop}        return loss

    def _advance(self, p, {arguments}):
        if p.grad.layout != torch.strided:
            raise RuntimeError("{name} takes dense gradients, not sparse ones")
        if p.is_complex():
            raise RuntimeError("{name} takes real weights, not complex ones")
        half = p.dtype in (torch.bfloat16, torch.float16)
        w = p.float() if half else p
        g = p.grad.to(w.dtype)
        if group["maximize"]:
            g = -g
        state = self.state[p]
        if not state:
            state["step"] = 0
{start}{before}{call}        change = group["lr"] * u
{shrink}        w.sub_(change)
        if half:
            p.copy_(w)
        state["step"] += 1
{load}'''

_LOAD = '''
    def load_state_dict(self, state_dict):
        """Take up a state to the bit: torch alone would round it to the weights' type."""
        super().load_state_dict(state_dict)
        params = [p for group in self.param_groups for p in group["params"]]
        saved = [i for group in state_dict["param_groups"] for i in group["params"]]
        for p, i in zip(params, saved):
            for name in SLOTS if i in state_dict["state"] else ():
                self.state[p][name] = state_dict["state"][i][name].to(p.device, copy=True)
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

    It has fewer than 120 lines but for rules that draw random numbers or are very long.

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
    _check_arguments(
        name, own, rule.hyperparameters, decay, {"lr": lr, "weight_decay": weight_decay}
    )
    lines = emit(checked(parse(text)))
    renamed = {key: f"rule_{key}" if key in _RESERVED else key for key in lines.hyperparameters}
    lines.hyperparameters = {renamed[key]: v for key, v in lines.hyperparameters.items()}
    numbers = {renamed[key]: own.get(key, value) for key, value in rule.hyperparameters.items()}
    options: dict[str, object] = {**numbers}
    if decay != "none":
        options["weight_decay"] = weight_decay
    if rule.uses_randomness:
        options["seed"] = 0
    options["maximize"] = False
    body = "\n".join([*lines.scalars_body(), *lines.update_body()])
    signature = ["self", "params", "lr" if lr is None else f"lr={lr!r}", "*"]
    signature += ["total_steps"] * rule.uses_time
    signature += [f"{key}={value!r}" for key, value in options.items()]
    keys = ["lr", *["total_steps"] * rule.uses_time, *options]
    formula = _formula(text, decay)
    return _FILE.format(
        doc=_docstring(name, formula, lr, rule.uses_time, provenance),
        functions=_functions(lines, body),
        name=name,
        title=f"w <- w - lr * u with u = {_title(text)}",
        signature=_wrapped(signature, 17, 4),
        checks=_checks(decay, rule.uses_time),
        defaults=_wrapped([f'"{key}": {key}' for key in keys], 19, 8, "{}"),
        **_shell(lines, body, decay),
    )


def _check_arguments(
    name: str,
    given: Mapping[str, float],
    known: Mapping[str, float],
    decay: str,
    numbers: Mapping[str, float | None],
) -> None:
    taken = {"SLOTS", "math", "scalars", "torch", "update", *_REDUCTIONS}
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or name in taken:
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
    draws = "draw" in _words(body)
    position = ["first"] * draws
    scalar_call = ["hyper" if "eta" in lines.hyperparameters else "group"]
    scalar_call += _scalar_arguments(lines, 'state["step"]', _total(body), 'state["memory"]')
    own = ["g", "w", "[state[name] for name in SLOTS]" if lines.slots else "[]"]
    own += [f"scalars({', '.join(scalar_call)})"] * bool(lines.scalars)
    own += ['(group["seed"], state["step"], first)'] * draws
    call = [f"u = update({_wrapped(own, 19, 8)})"]
    start = ['state["memory"] = {}'] * lines.recurrent
    if lines.slots:
        start.append("for name, value in SLOTS.items():")
        start.append("    state[name] = torch.full_like(w, value)")
    before: list[str] = []
    if decay == "paper" or "eta" in lines.hyperparameters:
        before.append('initial = group.get("initial_lr", group["lr"])')
        before.append('eta = group["lr"] / initial if initial else 1.0')
    if "eta" in lines.hyperparameters:
        before.append('hyper = {**group, "eta": group["eta"] * eta}')
    if decay == "l2":
        before.append('if group["weight_decay"]:\n    g = g + group["weight_decay"] * w')
    kept = _DECAYS[decay][1].format(decay='group["weight_decay"]')
    loop = ["first = 0"] * draws + ["for group in self.param_groups:"]
    loop += ['    for p in group["params"]:', "        if p.grad is not None:"]
    loop += [f"            self._advance({', '.join(['p', 'group', *position])})"]
    loop += ["        first += p.numel()"] * draws
    return {
        "load": _LOAD if lines.slots else "",
        "loop": _indented(loop, 8),
        "arguments": ", ".join(["group", *position]),
        "start": _indented(start, 12),
        "before": _indented(before, 8),
        "call": _indented(call, 8, hanging=True),
        "shrink": _indented([f"w.mul_({kept})"] * bool(kept), 8),
    }


def _functions(lines: Lines, body: str) -> str:
    """Return the module's functions: what the lines call, then the scalars and the update."""
    words = _words(body)
    parts: list[str] = []
    if "draw" in words:
        needed: list[Callable[..., object]] = [randomness.mix, randomness.stream]
        needed += [f for f in (randomness.uniform, randomness.normal) if f.__name__ in words]
        parts += [_plain(inspect.getsource(function)) for function in needed]
    parts += [source for reduction, source in _REDUCTIONS.items() if reduction in words]
    parts += [
        _plain(inspect.getsource(function))
        for function in (scalars.sign, scalars.where)
        if _called(function.__name__, lines.scalar_lines)
    ]
    names = [n for n in ("cos", "exp", "log", "pi", "sqrt") if _called(n, lines.scalar_lines)]
    constants = "".join(f"{name} = math.{name}\n" for name in names)
    if lines.slots:
        initial = (f'"{s.name}": {s.initial!r}'.replace("inf", "math.inf") for s in lines.slots)
        constants += f"SLOTS = {_wrapped(list(initial), 8, 0, '{}')}\n"
    signature = ", ".join(["hyper", *_scalar_arguments(lines, "t", "T", "memory")])
    said = "What depends on the hyperparameters and the time alone."
    scalar_body = [f'"""{said}"""', *map(_folded, lines.scalars_body())]
    if lines.scalars:
        parts.append(f"def scalars({signature}):\n{_indented(scalar_body, 4)}")
    arguments = ["g", "w", "state"]
    arguments += ["scalars"] * bool(lines.scalars) + ["draw"] * ("draw" in words)
    update_body = [
        '"""Return u, and move the state on by one step."""',
        *map(_folded, lines.update_body()),
    ]
    parts.append(f"def update({', '.join(arguments)}):\n{_indented(update_body, 4)}")
    return (constants + "\n\n" if constants else "\n") + "\n\n".join(parts)


def _scalar_arguments(lines: Lines, t: str, total: str, memory: str) -> list[str]:
    """Choose, of the three, what the scalar lines use."""
    words = _words("\n".join(lines.scalar_lines))
    return [given for name, given in (("t", t), ("T", total), ("memory", memory)) if name in words]


def _total(body: str) -> str:
    uses = [line for line in body.splitlines() if line != "now = min(t, T)" and "T" in _words(line)]
    return 'group["total_steps"]' if uses else "math.inf"


def _called(name: str, source: list[str]) -> bool:
    return any(re.search(rf"(?<![.\w]){name}\b", line) for line in source)


def _words(source: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", source))


def _plain(source: str) -> str:
    """Return a function's source without annotations, its docstring cut to one line."""
    head, _, rest = source.partition("\n")
    head = re.sub(r": (?:Draw|int|float|bool|torch\.Tensor)(?=[,)])| -> [\w.]+(?=:)", "", head)
    rest = re.sub(r'("""[^\n]*?)\n\n.*?"""', r'\1"""', rest, count=1, flags=re.DOTALL)
    return f"{head}\n{rest}"


def _checks(decay: Decay, timed: bool) -> str:
    lines: list[str] = []
    if decay != "none":
        lines += [
            "if not (math.isfinite(weight_decay) and weight_decay >= 0.0):",
            '    raise ValueError(f"weight_decay = {weight_decay}, but it must be at least 0")',
        ]
    if timed:
        lines += [
            "if not total_steps >= 1:",
            '    raise ValueError(f"total_steps = {total_steps}, but it must be at least 1")',
        ]
    return _indented(lines, 8)


def _formula(text: str, decay: Decay) -> list[str]:
    *lines, update = format_rule(parse(text)).splitlines()
    step = "w <- w - lr * u"
    said = _DECAYS[decay][0]
    return [*lines, f"u = {update}", f"{step}, {said}" if said else step]


def _title(text: str) -> str:
    update = format_rule(parse(text)).splitlines()[-1]
    return f"{update}." if len(update) <= 60 else f"{update[:60]} ..."


def _docstring(
    name: str, formula: list[str], lr: float | None, timed: bool, provenance: str | None
) -> str:
    said = "".join(c if c.isprintable() else " " for c in provenance or "")
    said = said.replace("\\", "\\\\").replace('"', "'")
    shown = [part for line in formula for part in textwrap.wrap(line, _WIDTH - 8)]
    arguments = ["model.parameters()", *["lr=0.01"] * (lr is None)]
    arguments += ["total_steps=1000"] * timed
    blocks = [
        f"{name}, an optimizer exported from Rulesmith.",
        "\n".join(f"    {line}" for line in shown),
        *([textwrap.fill(said, _WIDTH)] if said.strip() else []),
        f"Usage: optimizer = {name}({', '.join(arguments)})",
    ]
    return "\n\n".join(blocks) + "\n"


def _wrapped(items: list[str], column: int, indent: int, brackets: str = "") -> str:
    """Join items by commas, over several lines where they are too long for one."""
    opening, closing = brackets[:1], brackets[1:]
    line = opening + ", ".join(items) + closing
    if column + len(line) <= _WIDTH:
        return line
    rows = [""]
    for item in items:
        if rows[-1] and indent + 4 + len(rows[-1]) + len(item) > _WIDTH - 2:
            rows.append("")
        rows[-1] += f"{' ' * bool(rows[-1])}{item},"
    inner = "".join(f"{' ' * (indent + 4)}{row}\n" for row in rows)
    return f"{opening}\n{inner}{' ' * indent}{closing}"


def _folded(line: str) -> str:
    """Put a long tuple, returned or unpacked, on several lines."""
    if len(line) + 4 <= _WIDTH:
        return line
    if re.fullmatch(r"return \w+(, \w+)+", line):
        return "return " + _wrapped(line.removeprefix("return ").split(", "), _WIDTH, 0, "()")
    names, equals, source = line.partition(" = ")
    if equals and ", " in names:
        return _wrapped(names.split(", "), _WIDTH, 0, "()") + equals + source
    return line


def _indented(lines: list[str], columns: int, *, hanging: bool = False) -> str:
    if hanging:
        return "".join(f"{' ' * columns}{line}\n" for line in lines)
    return "".join(textwrap.indent(f"{line}\n", " " * columns) for line in lines)
