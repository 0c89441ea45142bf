"""`RuleOptimizer`: any rule of the language as a `torch.optim.Optimizer`."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from dsl.candidate import Decay
from dsl.compile import CompiledRule, Scalar, compile_rule
from dsl.errors import RuleError
from dsl.operands import range_of
from dsl.operators import OPERATORS
from dsl.program import resolve
from dsl.randomness import Draw
from dsl.scalars import fitting
from dsl.stepping import SMALL_ON_CPU, SMALL_ON_GPU, each_piece
from dsl.text import parse
from dsl.validate import check
from optimizers.catalogue import CATALOGUE

DECAYS: tuple[str, ...] = get_args(Decay)

OPTIONS = ("lr", "weight_decay", "decay", "total_steps", "seed", "maximize", "foreach")
"""Keys of a param group that are the optimizer's; the rule's hyperparameters stand beside them."""

_SCHEDULERS_OWN = frozenset({"params", "param_names", "initial_lr", "max_lr", "min_lr"})

_HALF = (torch.bfloat16, torch.float16)


def option_of(hyperparameter: str) -> str:
    """Return the name under which `RuleOptimizer` and its groups take a rule's hyperparameter."""
    taken = hyperparameter in OPTIONS or hyperparameter in _SCHEDULERS_OWN
    return f"rule_{hyperparameter}" if taken else hyperparameter


class RuleOptimizer(Optimizer):
    """Train with a rule: `w ← w − lr·u`, u the rule's value, and weight decay beside it.

    Args:
        params: Parameters or param groups. A group may set its own `lr`, `weight_decay`, `decay`,
            `total_steps`, `seed`, `maximize` and hyperparameters.
        rule: Rule text (see `dsl.text`), say `CATALOGUE["adam"].rule`. As text, `adam` and
            `rmsprop` are the language's abbreviations; `named` takes the catalogue's names.
        lr: Learning rate, at least 0.
        weight_decay: λ, at least 0.
        decay: `none`; `l2` adds λw to the gradient; `decoupled` subtracts lr·λ·w beside the update
            (torch's AdamW); `paper` subtracts η·λ·w, η = lr/initial_lr being what a scheduler has
            made of the learning rate (Loshchilov & Hutter 2019, Alg. 2). Decay looks at the
            weights before the step.
        total_steps: T, which rules with `ld`, `cd`, `rd`, `demon` or `T` need.
        seed: Seed of `noise` and `drop`, whose draws depend on it, the step and the weight's place.
        maximize: Climb instead of descend.
        foreach: Step small tensors together, where the rule works element by element: joined to
            one, they cost as many kernels as one, which is what torch's foreach functions are for.
            Large ones go in blocks that fit a cache.
        **hyperparameters: Values for the rule's hyperparameters. One that is named like an option
            above (`decay`, say) is given as `rule_decay`. `eta`, where a rule has it, is multiplied
            by lr/initial_lr at every step.

    State is kept in the parameters' dtype, and in float32 for bfloat16 and float16 parameters, for
    which the step is also computed in float32 and rounded once. Parameters without a gradient are
    left out; each counts its own steps. A beta changed from outside (by hand or by a scheduler)
    changes `debias` as in torch, by its present power; `demon(beta)` and other functions of t in
    the rule itself are corrected by the true product.

    torch's schedulers work; OneCycleLR needs `cycle_momentum=False`, for it looks for a `momentum`
    or `betas`: `momentum_schedules.MomentumScheduler(optimizer, "one_cycle", …)` cycles any beta.

    Raises:
        RuleError: The text is no rule, or its update does not depend on the gradient.
        ValueError: A value is out of range, a name unknown, or T is needed and not given.
        TypeError: A parameter is complex.
    """

    def __init__(
        self,
        params: ParamsT,
        rule: str,
        lr: float,
        *,
        weight_decay: float = 0.0,
        decay: str = "none",
        total_steps: int | None = None,
        seed: int = 0,
        maximize: bool = False,
        foreach: bool = True,
        **hyperparameters: float,
    ) -> None:
        self._read(rule)
        check(parse(rule))
        unknown = sorted(set(hyperparameters) - set(self._keys.values()))
        if unknown:
            raise ValueError(self._no_such(unknown[0]))
        defaults: dict[str, Any] = {
            "lr": lr,
            "weight_decay": weight_decay,
            "decay": decay,
            "total_steps": total_steps,
            "seed": seed,
            "maximize": maximize,
            "foreach": foreach,
        }
        for name, value in self._compiled.hyperparameters.items():
            defaults[self._keys[name]] = hyperparameters.get(self._keys[name], value)
        super().__init__(params, defaults)

    @classmethod
    def named(cls, name: str, params: ParamsT, lr: float | None = None, **options: Any) -> Any:
        """Return the catalogue's optimizer `name` with its defaults, any of which may be given.

        Raises:
            ValueError: The catalogue has no such name, or as for the class.
        """
        if name not in CATALOGUE:
            raise ValueError(
                f"there is no optimizer '{name}'; allowed: {', '.join(sorted(CATALOGUE))}"
            )
        entry = CATALOGUE[name]
        own = {"decay": entry.decay, "weight_decay": entry.weight_decay, **options}
        return cls(params, entry.rule, entry.lr if lr is None else lr, **own)

    def _read(self, rule: str) -> None:
        self.rule = rule
        try:
            self._compiled: CompiledRule = compile_rule(rule)
        except RuleError:
            if rule not in CATALOGUE:
                raise
            raise ValueError(
                f"'{rule}' is a name of the catalogue, not a rule's text: "
                f"write RuleOptimizer.named('{rule}', params)"
            ) from None
        self._needs_total = _needs_total(rule)
        self._elementwise = not (self._compiled.uses_randomness or self._compiled.uses_reductions)
        self._keys = {name: option_of(name) for name in self._compiled.hyperparameters}

    def _no_such(self, name: str) -> str:
        allowed = ", ".join(self._keys.values()) or "none"
        return f"the rule has no hyperparameter '{name}'; it has: {allowed}"

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with its own options and hyperparameters.

        Raises:
            ValueError: As for the class.
            TypeError: A parameter is complex.
        """
        known = {*OPTIONS, *_SCHEDULERS_OWN, *self._keys.values()}
        unknown = sorted(set(param_group) - known)
        if unknown:
            raise ValueError(self._no_such(unknown[0]))
        self._check({**self.defaults, **param_group})
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if not p.is_floating_point():
                self.param_groups.pop()
                raise TypeError(
                    f"a parameter of shape {tuple(p.shape)} is {p.dtype}; rules are defined for "
                    "real floating-point parameters: train torch.view_as_real of a complex one"
                )

    def _check(self, group: Mapping[str, Any]) -> None:
        for name in ("lr", "weight_decay"):
            value = float(group[name])
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} = {value}, but it must be a finite number of at least 0")
        if group["decay"] not in DECAYS:
            raise ValueError(
                f"there is no decay {group['decay']!r}; allowed: {', '.join(DECAYS)} (a "
                "hyperparameter of the rule that is called decay is given as rule_decay)"
            )
        if group["decay"] == "none" and group["weight_decay"]:
            raise ValueError(
                f"weight_decay = {group['weight_decay']} has no effect with decay='none'; "
                f"choose one of {', '.join(DECAYS[1:])}"
            )
        total = group["total_steps"]
        if total is None and self._needs_total:
            raise ValueError(
                "the rule depends on the total number of steps (T, ld, cd, rd or demon): give "
                "total_steps"
            )
        if total is not None and not (isinstance(total, int) and total >= 1):
            raise ValueError(f"total_steps = {total!r}, but it must be an integer of at least 1")
        for name, key in self._keys.items():
            value = group[key]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{key} = {value!r}, but it must be a number")
            if not math.isfinite(value):
                raise ValueError(f"{key} = {value}, but it must be finite")
            allowed = range_of(name, self._compiled.hyperparameters[name])
            if allowed is not None and value not in allowed:
                raise ValueError(f"{key} = {value}; allowed: {allowed.words}")

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; `closure` re-evaluates the model and returns the loss.

        Raises:
            RuntimeError: A gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        first = 0
        for group in self.param_groups:
            total = group["total_steps"] if self._needs_total else math.inf
            scalars = _Scalars(self._compiled, group, self._keys, total)
            batches: dict[Any, list[list[Tensor]]] = {}
            rounded: list[tuple[Tensor, Tensor]] = []
            for p in group["params"]:
                if p.grad is not None:
                    key, row = self._row(p, group, scalars, first)
                    batches.setdefault(key, []).append(row)
                    if p.dtype in _HALF:
                        rounded.append((p, row[1]))
                first += p.numel()
            for (small, values, draw, *_), rows in batches.items():
                self._advance(rows, group, scalars.decay, small, values, draw)
            for p, w in rounded:
                p.copy_(w.view_as(p))
        return loss

    def _row(
        self, p: Tensor, group: dict[str, Any], scalars: "_Scalars", first: int
    ) -> tuple[tuple[Any, ...], list[Tensor]]:
        """Return g, w and the state of a parameter, and what it shares with those beside it."""
        g = p.grad
        assert g is not None
        if g.layout != torch.strided:
            raise RuntimeError(
                f"a parameter of shape {tuple(p.shape)} has a sparse gradient, which rules do not "
                "take; give dense ones (nn.Embedding(sparse=False)) or use torch.optim.SparseAdam"
            )
        w = p.float() if p.dtype in _HALF else p.detach()
        g = g.to(w.dtype)
        if group["maximize"]:
            g = -g
        state = self.state[p]
        if not state:
            self._start(state, w)
        draw = None
        if self._compiled.uses_randomness:
            draw = Draw(group["seed"], state["step"], first)
        row = [g, w, *(state[slot.name] for slot in self._compiled.slots)]
        small = False
        if self._elementwise and all(x.is_contiguous() for x in row):
            row = [x.view(-1) for x in row]
            limit = SMALL_ON_CPU if w.is_cpu else SMALL_ON_GPU
            small = group.get("foreach", True) and w.numel() < limit
        values = fitting(scalars.at(state), w.dtype)
        state["step"] += 1
        return (small, values, draw, w.dtype, w.device), row

    def _advance(
        self,
        rows: list[list[Tensor]],
        group: dict[str, Any],
        decay: float,
        small: bool,
        values: tuple[Scalar, ...],
        draw: Draw | None,
    ) -> None:
        """Step tensors of one kind and age."""
        lr, kept = group["lr"], 1.0 - decay
        penalty = group["weight_decay"] if group["decay"] == "l2" else 0.0

        def step(values: tuple[Scalar, ...], pieces: Sequence[Sequence[Tensor]]) -> None:
            for g, w, *state in pieces:
                if penalty:
                    g = g + penalty * w
                u = self._compiled.update(g, w, state, values, draw)
                # Products and differences apart, as rows of a population do them: the same bits.
                change = lr * u
                if kept != 1.0:
                    w.mul_(kept)
                w.sub_(change)

        if self._elementwise:
            each_piece(step, values, rows, small, compiled=False)
        else:
            step(values, rows)

    def _start(self, state: dict[str, Any], w: Tensor) -> None:
        state["step"] = 0
        if self._compiled.recurrent:
            state["memory"] = {}
        for slot in self._compiled.slots:
            state[slot.name] = torch.full_like(
                w, slot.initial, memory_format=torch.preserve_format, requires_grad=False
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the state as torch does, and the rule's text."""
        return {**super().state_dict(), "rule": self.rule}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state of `state_dict`, copied, so that training goes on to the bit.

        Raises:
            ValueError: It is of another rule or class, or of other param groups.
        """
        rule = state_dict.get("rule", self.rule)
        if rule != self.rule:
            raise ValueError(
                f"the state is of the rule {rule!r}, this optimizer's is {self.rule!r}"
            )
        needed = {*OPTIONS, *self._keys.values()} - {"foreach"}
        slots = {"step", *(slot.name for slot in self._compiled.slots)}
        missing = [
            *(sorted(needed - set(group)) for group in state_dict["param_groups"]),
            *(sorted(slots - set(state)) for state in state_dict["state"].values() if state),
        ]
        if any(missing):
            raise ValueError(
                f"the state has no {', '.join(next(filter(None, missing)))}: load one that a "
                f"RuleOptimizer of the rule {self.rule!r} gave"
            )
        super().load_state_dict(state_dict)
        saved_ids = [i for group in state_dict["param_groups"] for i in group["params"]]
        params: Iterable[Tensor] = (p for group in self.param_groups for p in group["params"])
        for index, p in zip(saved_ids, params, strict=True):
            saved = state_dict["state"].get(index)
            if saved is not None:
                self.state[p] = _own(saved, p)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "rule": self.rule}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "rule" in state:  # torch also comes here when it loads a state_dict
            self._read(state["rule"])
        super().__setstate__(state)


class _Scalars:
    """A group's scalars at the present step, computed once for parameters of equal age."""

    def __init__(
        self,
        compiled: CompiledRule,
        group: Mapping[str, Any],
        keys: Mapping[str, str],
        total: float,
    ) -> None:
        lr = float(group["lr"])
        initial = float(group.get("initial_lr", lr))
        eta = lr / initial if initial else 1.0
        self.compiled = compiled
        self.total = total
        self.hyper = {name: float(group[key]) for name, key in keys.items()}
        if "eta" in self.hyper:
            self.hyper["eta"] *= eta
        rate = {"decoupled": lr, "paper": eta}.get(group["decay"], 0.0)
        self.decay = rate * group["weight_decay"]
        """What fraction of the weights the step takes away."""
        self.known: dict[Any, tuple[tuple[Scalar, ...], dict[str, float]]] = {}

    def at(self, state: dict[str, Any]) -> tuple[Scalar, ...]:
        """Return the scalars for a parameter's state, and move its running products on."""
        t, memory = state["step"], state.get("memory", {})
        key = (t, *memory.items())
        if key not in self.known:
            after = dict(memory)
            self.known[key] = (self.compiled.scalars(t, self.total, self.hyper, after), after)
        scalars, after = self.known[key]
        if self.compiled.recurrent:
            state["memory"] = dict(after)
        return scalars


def _own(saved: Mapping[str, Any], p: Tensor) -> dict[str, Any]:
    """Copy a parameter's saved state; torch would round it to the parameter's dtype."""
    dtype = torch.float32 if p.dtype in _HALF else p.dtype

    def copied(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().to(device=p.device, dtype=dtype, copy=True)
        return dict(value) if isinstance(value, dict) else value

    return {name: copied(value) for name, value in saved.items()}


def _needs_total(rule: str) -> bool:
    program = resolve(parse(rule))
    operators = {program.graph.values[i].operator for i in program.order}
    timed = (OPERATORS[name].scalar for name in operators if name in OPERATORS)
    return program.mentions("T") or any("T" in template for template in timed)
