"""AdamWR and SGDWR: warm restarts with the decay recomputed at each (arXiv:1711.05101, B.1-B.2)."""

import math
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

from optimizers.schedules import restart


def normalized_weight_decay(
    norm: float, batch_size: int, examples: int, epochs: float, *, whole_batches: bool = False
) -> float:
    """Return λ = λ_norm · √(b / (B·T)), Loshchilov & Hutter 2019, appendix B.1.

    Args:
        norm: λ_norm, the decay normalised to one pass of one batch; 0.025 to 0.05 on CIFAR-10.
        batch_size: b.
        examples: B, the number of training examples.
        epochs: T; with warm restarts that of the present period.
        whole_batches: Count ⌈B/b⌉ batches an epoch, as the authors' code does, instead of B/b.

    Raises:
        ValueError: A value is out of range.
    """
    for name, value in (("batch_size", batch_size), ("examples", examples), ("epochs", epochs)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} = {value}, but it must be a finite number above 0")
    if not (math.isfinite(norm) and norm >= 0):
        raise ValueError(f"norm = {norm}, but it must be a finite number of at least 0")
    batches = math.ceil(examples / batch_size) if whole_batches else examples / batch_size
    return norm / math.sqrt(batches * epochs)


class WarmRestarts:
    """Cosine annealing with warm restarts of the learning rate, and of the normalised decay.

    With `RuleOptimizer.named("adamw_paper", …)` this is AdamWR, with `sgdw_paper` SGDWR: the
    learning rate is lr·η_t and the decay η_t·λ, λ from the length of the present period. Call
    `step` after every `optimizer.step`.

    To resume, build it as before, then load its state and the optimizer's, in either order.

    Args:
        optimizer: Its groups' `initial_lr`, where another schedule or a loaded state has set it,
            is the base learning rate, else their `lr`, as for torch's schedulers; `initial_lr` is
            set to it, and `weight_decay` is set at each restart.
        T_0: Epochs of the first period.
        T_mult: Each period is this many times as long as the one before.
        batch_size: b.
        examples: B; an epoch has ⌈B/b⌉ steps.
        norm: λ_norm; None leaves the groups' decay alone (plain SGDR).
        eta_min: Least multiplier.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        T_0: float = 10,  # noqa: N803
        T_mult: float = 2,  # noqa: N803
        batch_size: int,
        examples: int,
        norm: float | None = 0.025,
        eta_min: float = 0.0,
    ) -> None:
        if not (math.isfinite(T_0) and T_0 > 0):
            raise ValueError(f"T_0 = {T_0}, but it must be a finite number of epochs above 0")
        if not 1 <= T_mult <= 1000:
            raise ValueError(f"T_mult = {T_mult} is outside 1 … 1000")
        self.optimizer, self.period, self.growth = optimizer, float(T_0), float(T_mult)
        self.batch_size, self.examples = batch_size, examples
        self.norm, self.eta_min = norm, eta_min
        normalized_weight_decay(norm or 0.0, batch_size, examples, T_0)
        self.steps_per_epoch = math.ceil(examples / batch_size)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", float(group["lr"]))
        self.last_step = 0
        self._set()

    @property
    def cycle(self) -> int:
        """Restarts so far. A snapshot is due when it goes up."""
        return restart(self.last_step / self.steps_per_epoch, self.period, self.growth)[0]

    def step(self) -> None:
        """Go to the next step: T_cur grows by a fraction of an epoch."""
        self.last_step += 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on: the step and the base learning rates."""
        return {
            "last_step": self.last_step,
            "base_lrs": [float(group["initial_lr"]) for group in self.optimizer.param_groups],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on at the saved step, from the saved base learning rates.

        Raises:
            ValueError: The state is of an optimizer with another number of param groups.
        """
        groups, rates = self.optimizer.param_groups, state_dict["base_lrs"]
        if len(rates) != len(groups):
            raise ValueError(
                f"the state is of {len(rates)} param groups, the optimizer has {len(groups)}"
            )
        for group, rate in zip(groups, rates, strict=True):
            group["initial_lr"] = rate
        self.last_step = state_dict["last_step"]
        self._set()

    def _set(self) -> None:
        epoch = self.last_step / self.steps_per_epoch
        _, current, length = restart(epoch, self.period, self.growth)
        fall = 0.5 * (1 + math.cos(math.pi * current / length))
        eta = self.eta_min + (1 - self.eta_min) * fall
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * eta
            if self.norm is not None:
                group["weight_decay"] = normalized_weight_decay(
                    self.norm, self.batch_size, self.examples, length
                )
