"""The population trainer against one ordinary PyTorch loop per child, on the same children.

Both train the same rules, learning rates and seeds on the same batches in the same process, and
the difference of the final weights is printed beside the ratio of the times: of the median child
and the worst in float32 (RMSProp's first update is near 10·sign(g), so that a gradient at the
level of rounding may throw a child onto another path), and of the worst in float64. The loop is
what a person writes: an `nn.Module`, autograd, and `torch.optim` where it has the optimizer
(`RuleOptimizer` where it has not).
"""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dsl.candidate import Candidate, Proposal, Stage
from optimizers.catalogue import CATALOGUE
from optimizers.rule import RuleOptimizer
from workers.batches import batch_order
from workers.evaluation import judge
from workers.population import train_population
from workers.protocol import Evaluation, Protocol, TaskSpec
from workers.tasks.registry import TASKS

CHILDREN, STEPS, BATCH, ROUNDS = 64, 100, 64, 3
NAMES = ("sgd", "momentum", "adam", "adamw", "rmsprop", "lion", "powersign", "addsign")
RULES = 96
TASK = TASKS["digits-mlp"]


def _children() -> list[Candidate]:
    found = []
    for k in range(CHILDREN):
        entry = CATALOGUE[NAMES[k % len(NAMES)]]
        found.append(
            Candidate(
                rule=entry.rule,
                lr=entry.lr * (0.5 + 0.5 * k / CHILDREN),
                decay=entry.decay,
                weight_decay=entry.weight_decay,
            )
        )
    return found


def _optimizer(child: Candidate, module: nn.Module) -> torch.optim.Optimizer:
    lr = child.lr or 0.0
    name = next(name for name in NAMES if CATALOGUE[name].rule == child.rule)
    if name == "adam" and child.decay == "decoupled":
        name = "adamw"
    defaults = CATALOGUE[name].hyperparameters
    if name == "sgd":
        return torch.optim.SGD(module.parameters(), lr)
    if name == "momentum":
        return torch.optim.SGD(module.parameters(), lr, momentum=defaults["mu"])
    if name == "adam":
        return torch.optim.Adam(module.parameters(), lr)
    if name == "adamw":
        return torch.optim.AdamW(module.parameters(), lr, weight_decay=child.weight_decay)
    return RuleOptimizer(
        module.parameters(),
        child.rule,
        lr,
        decay=child.decay,
        weight_decay=child.weight_decay,
        total_steps=STEPS,
    )


def _loop(
    children: Sequence[Candidate], dtype: torch.dtype = torch.float32
) -> list[dict[str, Tensor]]:
    inputs, targets = TASK.examples("train")
    inputs, found = inputs.to(dtype), []
    for child in children:
        module = TASK.initial(child.seed).to(dtype)
        optimizer = _optimizer(child, module)
        for batch in batch_order(child.seed, len(inputs), BATCH, STEPS):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(inputs[batch]), targets[batch])
            loss.backward()
            optimizer.step()
        found.append({name: value.detach() for name, value in module.named_parameters()})
    return found


def _population(
    children: Sequence[Candidate], dtype: torch.dtype = torch.float32
) -> list[dict[str, Tensor]]:
    protocol = Protocol(steps=STEPS, batch_size=BATCH)
    results = train_population(TASK, children, protocol, dtype=dtype, points=1, keep_weights=True)
    return [result.weights or {} for result in results]


def _differences(
    ours: Sequence[dict[str, Tensor]], theirs: Sequence[dict[str, Tensor]]
) -> list[float]:
    """Return every child's largest difference of a weight, smallest first."""
    return sorted(
        max(float((one[name] - other[name]).abs().max()) for name in one)
        for one, other in zip(ours, theirs, strict=True)
    )


def _timed(work: Callable[[], list[dict[str, Tensor]]]) -> tuple[float, list[dict[str, Tensor]]]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def _compare(threads: int) -> None:
    torch.set_num_threads(threads)
    children = _children()
    _population(children[:8])
    _loop(children[:8])
    ratios, loops, populations = [], [], []
    # side by side in every round, since the machine's speed drifts
    for _ in range(ROUNDS):
        population, ours = _timed(lambda: _population(children))
        loop, theirs = _timed(lambda: _loop(children))
        ratios.append(loop / population)
        loops.append(loop)
        populations.append(population)
    single = _differences(ours, theirs)
    unit = 1e6 / (CHILDREN * STEPS)
    print(
        f"{threads} thread(s): {CHILDREN} children x {STEPS} steps of {TASK.name}: "
        f"loop {min(loops) * unit:.0f} us, population {min(populations) * unit:.0f} us "
        f"per child and step: {sorted(ratios)[ROUNDS // 2]:.1f} times "
        f"(rounds {', '.join(f'{ratio:.1f}' for ratio in ratios)}); "
        f"final weights differ by {single[CHILDREN // 2]:.0e} (median child), "
        f"{single[-1]:.0e} (worst)",
        flush=True,
    )


def _rules_per_second() -> None:
    """Judge rules that differ in their numbers, under a discover job's protocol."""
    torch.set_num_threads(1)
    shapes = (
        "clip(m, {x}) + drop(g, 0.3)",
        "exp({x} * sign(g) * sign(m)) * g",
        "adam * ({x} + ld)",
        "m / (sqrt(v) + {x})",
        "g * abs(g) ^ {x}",
        "log(abs(g) + {x}) * sign(m)",
    )
    rules = [shapes[k % len(shapes)].format(x=0.01 * (k + 1)) for k in range(RULES)]
    proposals = [Proposal(number=k, candidate=Candidate(rule=rule)) for k, rule in enumerate(rules)]
    protocol = Protocol(steps=200, grid_steps=60)
    evaluation = Evaluation(task=TaskSpec(name=TASK.name), protocols={Stage.SEARCH: protocol})
    began = time.perf_counter()
    outcomes = judge(evaluation, proposals)
    seconds = time.perf_counter() - began
    steps = sum(outcome.cost_steps for outcome in outcomes)
    print(
        f"judge: {RULES} rules, 7 learning rates x 60 steps + 200 steps, one thread: "
        f"{seconds:.1f} s, {RULES / seconds:.0f} rules/s, {1e6 * seconds / steps:.0f} us per step"
    )


def main() -> None:
    """Print the ratios with torch's own number of threads and with one."""
    own = torch.get_num_threads()
    for threads in sorted({own, 1}, reverse=True):
        _compare(threads)
    double = _differences(
        _population(_children(), torch.float64), _loop(_children(), torch.float64)
    )
    print(f"in float64 the final weights differ by {double[-1]:.0e} (worst child)", flush=True)
    _rules_per_second()
    torch.set_num_threads(own)


if __name__ == "__main__":
    main()
