"""From text to a function that steps a tensor.

`compile_rule` parses, checks, prints the rule's lines (`dsl.emit`) and executes them. Two
functions come out: one for the scalars of a step, in float64, and one for its tensors.
"""

import ast
import linecache
import math
import re
import weakref
from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from itertools import count
from types import CodeType
from typing import Any

import torch

from dsl.emit import CLAMP, Lines, Slot, emit
from dsl.operators import OPERATORS, Kind
from dsl.program import Program
from dsl.randomness import normal, uniform
from dsl.scalars import FLOAT, TENSOR
from dsl.validate import program_of

__all__ = ["CompiledRule", "Scalar", "Slot", "Update", "Widened", "compile_rule"]

Scalar = float | torch.Tensor
Update = Callable[..., torch.Tensor]
"""update(g, w, state, scalars, draw) -> u, see `CompiledRule.update`."""

_serial = count()


def _rms(x: torch.Tensor) -> torch.Tensor:
    return x.square().mean().sqrt()


_BINDINGS: Mapping[str, Callable[..., torch.Tensor]] = {
    "norm": torch.linalg.vector_norm,
    "mean": torch.mean,
    "rms": _rms,
    "uniform": uniform,
    "normal": normal,
}


class CompiledRule:
    """A rule as functions on tensors. Instances are shared: treat them as immutable.

    Attributes:
        text: The rule's text, as given.
        hyperparameters: Names and defaults of what the update depends on, in order of first use.
        slots: The state it keeps, each a tensor shaped like the weights.
        scalar_names: Names of what `scalars` returns, in order.
        uses_weights: The update reads w.
        uses_randomness: The update draws random numbers, so `draw` must be given.
        uses_reductions: The update needs whole tensors (norm, mean, rms), not slices.
        uses_time: The update reads T, the total number of steps (ld, cd, rd, demon …), so T must
            be known; t alone does not count.
        recurrent: The scalars of a step depend on those before it, through `memory`.
        source: The generated Python, also what tracebacks show.
        update: ``update(g, w, state, scalars, draw=None) -> u``. g, w and the state tensors have
            one shape; scalars are those of this step, floats or tensors that broadcast against g
            and have its dtype. Changes the state in place, never g or w, and returns u, which is
            either fresh or g, w or a state tensor itself: use it before the next step, and do not
            write to it.
    """

    def __init__(self, text: str) -> None:
        program = program_of(text)
        lines = emit(program)
        self.text = text
        self.hyperparameters = dict(program.hyperparameters)
        self.slots: tuple[Slot, ...] = tuple(lines.slots)
        self.scalar_names = tuple(lines.scalars)
        self.recurrent = lines.recurrent
        kinds = _kinds(program)
        self.uses_weights = program.mentions("w")
        self.uses_randomness = Kind.RANDOM in kinds
        self.uses_reductions = Kind.REDUCTION in kinds
        self.uses_time = any(re.search(r"\bT\b", s) for s in lines.scalar_lines if s != CLAMP)
        self.source = _source(text, lines)
        name = f"<rule {next(_serial)}>"
        self._code = compile(self.source, name, "exec")
        linecache.cache[name] = (len(self.source), None, self.source.splitlines(True), name)
        weakref.finalize(self, linecache.cache.pop, name, None).atexit = False
        self.update: Update = self._execute(_BINDINGS)["update"]
        self._on_floats = self._execute(FLOAT)["scalars"]
        self._on_tensors = self._execute(TENSOR)["scalars"]
        self._wide: Callable[..., tuple[Any, ...]] | None = None

    def scalars(
        self,
        t: Scalar,
        T: Scalar,  # noqa: N803
        hyper: Mapping[str, Any],
        memory: MutableMapping[str, Any] | None = None,
    ) -> tuple[Scalar, ...]:
        """Compute the scalars of one step, in float64.

        Args:
            t: The step, from 0; a float64 tensor where rows of a population differ.
            T: Total steps; `math.inf` where unknown and `uses_time` is False.
            hyper: A value for each hyperparameter, floats or float64 tensors.
            memory: Running products, kept by the caller from step to step (empty at first). Only
                needed if `recurrent`.

        Returns:
            One value for each of `scalar_names`: floats, or float64 tensors where tensors came in.
        """
        memory = {} if memory is None else memory
        # Whole numbers would grow without end in t ^ t ^ t, where floats become infinite.
        t, T = (x if isinstance(x, torch.Tensor) else float(x) for x in (t, T))  # noqa: N806
        inputs = (t, T, *(hyper[name] for name in self.hyperparameters))
        if any(isinstance(value, torch.Tensor) for value in inputs):
            found = self._tried(self._on_tensors, t, T, hyper, memory)
            return self._on_wide(t, T, hyper, memory) if found is None else found
        found = self._tried(self._on_floats, t, T, hyper, memory)
        if found is not None:
            return tuple(map(float, found))
        wide = {name: _wide(float(hyper[name])) for name in self.hyperparameters}
        found = self._on_wide(_wide(float(t)), _wide(float(T)), wide, memory)
        memory.update({name: float(value) for name, value in memory.items()})
        return tuple(float(value) for value in found)

    def _tried(
        self,
        scalars: Callable[..., tuple[Any, ...]],
        t: Scalar,
        T: Scalar,  # noqa: N803
        hyper: Mapping[str, Any],
        memory: MutableMapping[str, Any],
    ) -> tuple[Any, ...] | None:
        """Return what `scalars` gives, None where Python's floats raise or turn complex."""
        before = dict(memory)
        try:
            found = tuple(scalars(t, T, hyper, memory))
            if not any(isinstance(value, complex) for value in found):
                return found
        except (ArithmeticError, ValueError, TypeError):  # a TypeError is complex's
            pass
        memory.clear()
        memory.update(before)
        return None

    def _on_wide(self, *arguments: Any) -> tuple[Any, ...]:
        """Compute the scalars with every number a tensor, so that none raises."""
        if self._wide is None:
            tree = Widened().visit(ast.parse(self.source))
            code = compile(ast.fix_missing_locations(tree), self._code.co_filename, "exec")
            self._wide = self._execute({**TENSOR, "wide": _wide}, code)["scalars"]
        return tuple(self._wide(*arguments))

    def bind(self, **functions: Callable[..., Any]) -> Update:
        """Return `update` with other reductions or random draws, the lines unchanged.

        Args:
            **functions: Any of norm, mean, rms (x -> reduced, broadcastable to x) and uniform,
                normal ((draw, index, like) -> numbers shaped like `like`). What uniform gives is
                only compared, and chosen by with `torch.where`.
        """
        unknown = sorted(set(functions) - set(_BINDINGS))
        if unknown:
            raise TypeError(f"Cannot bind {unknown}; allowed: {', '.join(_BINDINGS)}")
        update: Update = self._execute({**_BINDINGS, **functions})["update"]
        return update

    def initial_state(self, like: torch.Tensor) -> list[torch.Tensor]:
        """Return fresh state for weights shaped like `like`, in its dtype."""
        return [torch.full_like(like, slot.initial) for slot in self.slots]

    def _execute(self, names: Mapping[str, Any], code: CodeType | None = None) -> dict[str, Any]:
        namespace: dict[str, Any] = {"torch": torch, "math": math, **names}
        exec(code or self._code, namespace)  # noqa: S102 - printed from the checked graph by dsl.emit
        return namespace

    def __repr__(self) -> str:
        return f"compile_rule({self.text!r})"

    def __reduce__(self) -> tuple[Callable[[str], "CompiledRule"], tuple[str]]:
        return compile_rule, (self.text,)

    def __deepcopy__(self, memo: dict[int, Any]) -> "CompiledRule":
        return self


def _wide(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


class Widened(ast.NodeTransformer):
    """Makes tensors of the numbers in generated code: 1.0 / 0.0 is infinite for them."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        """Write `wide(1.0)` for 1.0."""
        if not isinstance(node.value, float):
            return node
        return ast.Call(ast.Name("wide", ast.Load()), [node], [])


@lru_cache(maxsize=512)  # about 11 kB each: a search never ends asking for new ones
def compile_rule(text: str) -> CompiledRule:
    """Compile a rule's text; equal texts give the same object.

    Raises:
        RuleError: The text is no rule, or one that the checks refuse.
    """
    return CompiledRule(text)


def _kinds(program: Program) -> set[Kind]:
    operators = (program.graph.values[i].operator for i in program.order)
    return {OPERATORS[name].kind for name in operators if name in OPERATORS}


def _source(text: str, lines: Lines) -> str:
    """Wrap a rule's lines in its two functions."""
    return "\n".join(
        [
            *(f"# {line}" for line in text.splitlines()),
            "def scalars(t, T, hyper, memory):",
            *(f"    {line}" for line in lines.scalars_body()),
            "",
            "def update(g, w, state, scalars, draw=None):",
            *(f"    {line}" for line in lines.update_body()),
            "",
        ]
    )
