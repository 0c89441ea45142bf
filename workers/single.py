"""A row that is trained by itself: an ordinary PyTorch loop over the task's module.

So are optimizers trained that no rule can say (see `optimizers.library`): they need whole matrices,
numbers of the whole model, or a closure, which a stack of models does not give them. And so are
rules on a module that `torch.func` cannot stack (see `workers.trial_step`): the same rows, slower.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # type: ignore[attr-defined]
from torch.optim import Optimizer

from dsl.candidate import Candidate
from dsl.compile import compile_rule
from optimizers.library import find_library, library_optimizer
from optimizers.rule import RuleOptimizer, option_of
from optimizers.schedules import multipliers
from workers.batches import Batches
from workers.generators import Generators
from workers.ground import Ground
from workers.module_draws import measuring, training
from workers.stack import BOUND, Diverged, explain
from workers.stacking import has_lstm, plain_kernels, trained
from workers.tasks.task import Split, Task

_MIX = 0x2545F491
"""Keeps the optimizer's own draws apart from those of the weights."""


def optimizer_of(candidate: Candidate, params: Iterable[Tensor]) -> Optimizer:
    """Return the optimizer of another library that the candidate names, over `params`.

    Raises:
        ValueError: There is no such optimizer or option, or it refuses a value or a shape.
        ModuleNotFoundError: Its library is not installed.
    """
    entry = find_library(candidate.rule)
    options = entry.valued(candidate.hyperparameters)
    if candidate.decay not in ("own", "none"):
        raise ValueError(
            f"'{entry.name}' applies its weight decay itself, so decay is 'own' or 'none', not "
            f"'{candidate.decay}'"
        )
    if entry.weight_decay is not None:
        options["weight_decay"] = candidate.weight_decay if candidate.decay == "own" else 0.0
    elif candidate.decay == "own":
        raise ValueError(f"'{entry.name}' has no weight decay, so decay must be 'none'")
    return library_optimizer(entry.name, params, candidate.lr, **options)


def rule_optimizer(candidate: Candidate, module: nn.Module, steps: int) -> RuleOptimizer:
    """Return the candidate's rule over the trained parameters of `module`, for `steps` steps.

    Raises:
        ValueError: The rule has no such hyperparameter, or a value is out of range.
        RuleError: The text is no rule.
    """
    assert candidate.lr is not None
    named: dict[str, Any] = {
        option_of(name): value for name, value in candidate.hyperparameters.items()
    }
    optimizer = RuleOptimizer(
        trained(module).values(),
        candidate.rule,
        candidate.lr,
        weight_decay=0.0 if candidate.decay == "none" else candidate.weight_decay,
        decay=candidate.decay,
        total_steps=steps,
        seed=candidate.seed,
        **named,
    )
    # what the schedule has made of the rate is seen against it
    optimizer.param_groups[0]["initial_lr"] = candidate.lr
    return optimizer


def refusal(task: Task, candidate: Candidate) -> str | None:
    """Return why the candidate's optimizer cannot train the task's module, or None.

    Raises:
        ModuleNotFoundError: Its library is not installed where this runs.
    """
    try:
        optimizer_of(candidate, task.initial(0).parameters())
    except ModuleNotFoundError:
        raise
    except Exception as error:  # each library has exceptions of its own for a number out of range
        return str(error) or type(error).__name__
    return None


class Single:
    """One row, trained as anybody would; what a population sees of it is what `Stack` has.

    Attributes:
        rows: the row's number in the population; empty when it has ended.
        step: steps taken.
        slots: the row's numbers of optimizer state per weight, rounded.
        seconds: CPU time spent on its training steps.
    """

    def __init__(self, ground: Ground, row: int, candidate: Candidate) -> None:
        """Draw the weights and build the optimizer of `candidate`.

        Raises:
            ValueError, ModuleNotFoundError: As for `optimizer_of` and `rule_optimizer`.
        """
        self._ground, self.rows, self.step, self.seconds = ground, [row], 0, 0.0
        self._row, protocol = row, ground.protocol
        self._module = ground.task.initial(candidate.seed).to(ground.device, ground.dtype)
        self._optimizer: Any
        self._closure = self._modes = False
        self.slots: dict[int, int] = {row: 0}
        if candidate.imported:
            entry = find_library(candidate.rule)
            self._closure, self._modes = entry.closure, entry.modes
            self._optimizer = optimizer_of(candidate, self._module.parameters())
        else:
            self._optimizer = rule_optimizer(candidate, self._module, protocol.steps)
            self.slots[row] = len(compile_rule(candidate.rule).slots)
        self._imported = candidate.imported
        # each group has a rate of its own: Muon's vectors are trained at adamw_lr
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        self._etas = multipliers(candidate.schedule, protocol.steps)
        examples = ground.data.split("train")
        self._batches = Batches(examples, [candidate.seed], protocol.batch_size, protocol.steps)
        self._draws = ground.draws([candidate.seed], stacked=False)
        self._lstm = has_lstm(self._module)
        self._seed = candidate.seed ^ _MIX
        self._generators = Generators(self._seed, ground.device)
        self._loss_sum, self._summed = 0.0, 0
        self._bound: float | None = None

    def advance(self, until: int) -> list[Diverged]:
        """Train up to step `until`; return the row if it diverged on the way, now dropped."""
        began, found = time.process_time(), []
        with self._generators.lent(), torch.enable_grad():
            self._training(True)
            while self.rows and self.step < until:
                reason = self._advance_once()
                if reason is not None:
                    found.append(Diverged(self._row, self.step, reason))
                    break
                self.step += 1
        if self._imported:
            self.slots[self._row] = self._state_per_weight()
        self.seconds += time.process_time() - began
        self.drop(each.row for each in found)
        return found

    def _advance_once(self) -> str | None:
        """Take one step, or return why it cannot be taken."""
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._etas[self.step]
        batch = self._batches.at(self.step)

        def closure() -> Tensor:
            self._optimizer.zero_grad()
            with training(self._draws, self.step), self._kernels():
                loss = self._ground.task.loss(self._module, batch)
                loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        try:
            if self._closure:
                return self._look(float(self._optimizer.step(closure)))
            reason = self._look(float(closure()))
            if reason is None:
                self._fill()
                self._optimizer.step()
            return reason
        except (ArithmeticError, LinAlgError) as error:
            # numbers that ran away break a matrix decomposition before they reach the loss
            return f"the optimizer cannot go on ({_first_line(error)})"

    def _fill(self) -> None:
        """Let a rule see zeros where the loss does not reach, as rows of a stack do."""
        if not self._imported:
            for parameter in trained(self._module).values():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)

    def _kernels(self) -> AbstractContextManager[None]:
        """Draw in the order in which a stack draws, where the module draws."""
        return nullcontext() if self._draws is None else plain_kernels(self._lstm)

    def _look(self, loss: float) -> str | None:
        if self._bound is None:
            bound = BOUND * (1 + abs(loss))
            self._bound = min(bound, sys.float_info.max)  # which no infinite loss is under
        if not abs(loss) <= self._bound:
            return explain(loss, self._bound)
        self._loss_sum += loss
        self._summed += 1
        return None

    def measure(self, split: Split) -> dict[str, list[float]]:
        """Return the metrics of a split, each a list over `rows`."""
        self._training(False)
        with torch.no_grad(), self._judging():
            found = self._ground.task.measure(self._module, self._ground.data.split(split))
        return {f"{split}_{name}": [float(value)] for name, value in found.items()}

    @contextmanager
    def _judging(self) -> Iterator[None]:
        """Have what a measurement draws depend on the seed and the step alone."""
        if not self._ground.finding.draws:
            yield
            return
        generators = Generators((self._seed + self.step) & 0xFFFFFFFF, self._ground.device)
        with generators.lent(), measuring(self._draws, self.step), self._kernels():
            yield

    def train_loss(self) -> list[float]:
        """Return the mean loss over the batches since the last call, over `rows`."""
        mean = self._loss_sum / max(1, self._summed)
        self._loss_sum, self._summed = 0.0, 0
        return [mean]

    def weights(self) -> list[dict[str, Tensor]]:
        """Return every row's parameters by name, those that are measured."""
        self._training(False)
        return [{name: value.detach().clone() for name, value in trained(self._module).items()}]

    def drop(self, rows: Iterable[int]) -> None:
        """End the row if it is among `rows`, and free its optimizer's state."""
        if self._row in set(rows):
            self.rows = []
            self._optimizer.state.clear()

    def _training(self, training: bool) -> None:
        self._module.train(training)
        if self._modes:
            if training:
                self._optimizer.train()
            else:
                self._optimizer.eval()

    def _state_per_weight(self) -> int:
        weights = {id(value): value.numel() for value in self._module.parameters()}
        held = _tensors(list(self._optimizer.state.values()), set(weights))
        state = sum(value.numel() for value in held if value.numel() > 1)
        return round(state / sum(weights.values()))


def _tensors(value: Any, seen: set[int]) -> Iterator[Tensor]:
    """Yield the tensors held by a state, wherever its library keeps them."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
        return
    if isinstance(value, dict):
        held: Iterable[Any] = value.values()
    elif isinstance(value, list | tuple):
        held = value
    else:
        held = vars(value).values() if hasattr(value, "__dict__") else ()
    for each in held:
        yield from _tensors(each, seen)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
