"""The population trainer against ordinary PyTorch loops, on the same children and the same cores.

A child is a rule, a learning rate and a seed; it is trained and then measured on the validation
split. In every round six things run one after the other, so that a change of the machine's speed
falls on all; figures are medians of the rounds:

- the loop as a person writes it: one process with torch's own number of threads, for each child an
  `nn.Module`, autograd, and `torch.optim` (Lion, PowerSign and AddSign, which torch has not, are
  written out in `by_hand`);
- the fair loop: two processes of one thread side by side, each with half of the children;
- the engine as the service runs it: two workers of one thread, a population of 64 in each, whose
  rows have one seed, as those of a tune job do: they share every batch;
- the engine likewise, each of its 64 rows with a seed of its own: no batch is shared;
- the engine in one process with torch's own number of threads, 128 rows of one seed;
- the machine's matrix rate: products of 768 x 768 in the same two processes side by side.

The loops train the first few of the 128 children only, as many of each rule, and count per child;
to them it is all one which children share a seed. The floor is the time of the multiplications
alone at the matrix rate, counted from the shapes of the module's own passes. It also says how much
a task can gain at all: the fair loop takes some 30 times the floor on `digits-mlp`, 15 on
`digits-conv` and 7 on `char-lm`, and no population can gain more. The rest is what a population
saves, the time between operations, which it spends once for all rows; the larger the layers, the
less of it there is. So the recurrent network gains least. Convolutions also gain less since besides
thin products they are passes through memory (patches, BatchNorm, pooling), whose bytes are as many
for a stack as for a loop, and since the loop's convolutions (oneDNN) may multiply faster than
batched products do (MKL).

Final weights are compared: the largest difference of a tensor's elements over its largest element.
In float64 they are equal to rounding. In float32 a child may be thrown onto another path where a
sign, a maximum or a ReLU is near its edge (RMSProp's first update is near 10·sign(g)). What float32
does by itself is measured too: the loop against itself with the examples of every batch in reverse,
which changes nothing but the order of its sums.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dsl.candidate import Candidate
from optimizers.catalogue import CATALOGUE
from tests.benchmarks.by_hand import AddSign, Lion, PowerSign
from tests.benchmarks.results import record
from workers.batches import batch_order
from workers.population import train_population
from workers.protocol import Protocol
from workers.tasks.registry import TASKS

WORKERS, ROWS, BATCH, ROUNDS = 2, 64, 64, 5
RATES = {
    "sgd": 0.5,
    "momentum": 0.05,
    "adam": 0.01,
    "adamw": 0.01,
    "rmsprop": 0.003,
    "lion": 0.002,
    "powersign": 0.1,
    "addsign": 0.1,
}
"""The largest learning rate of each rule: they all learn the tasks at these."""

NAMES = tuple(RATES)
COMPARED = 2 * len(NAMES)
SIDE, PRODUCTS = 768, 20
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Setting:
    """How a task is measured, and what is wanted of it."""

    task: str
    steps: int
    looped: int
    """Children of each loop, a multiple of the number of rules."""

    person: float
    fair: float
    floor: float | None = None


SETTINGS = (
    Setting("digits-mlp", 200, 16, person=12.0, fair=6.0, floor=4.0),
    Setting("digits-conv", 50, 8, person=3.0, fair=2.0),
    Setting("char-lm", 40, 8, person=3.0, fair=2.0),
)


def children(count: int, seeds: int = 1) -> list[Candidate]:
    """Return different children: rules and seeds in turn, at learning rates that grow."""
    found = []
    for k in range(count):
        name = NAMES[k % len(NAMES)]
        entry = CATALOGUE[name]
        found.append(
            Candidate(
                rule=entry.rule,
                lr=RATES[name] * (0.5 + 0.5 * k / count),
                decay=entry.decay,
                weight_decay=entry.weight_decay,
                seed=k % seeds,
            )
        )
    return found


def _optimizer(child: Candidate, module: nn.Module) -> torch.optim.Optimizer:
    lr = child.lr
    assert lr is not None
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
    if name == "rmsprop":
        rho, eps = defaults["rho"], defaults["eps"]
        return torch.optim.RMSprop(module.parameters(), lr, alpha=rho, eps=eps)
    if name == "lion":
        return Lion(module.parameters(), lr, weight_decay=child.weight_decay, **defaults)
    kind = {"powersign": PowerSign, "addsign": AddSign}[name]
    return kind(module.parameters(), lr, beta=defaults["beta"])


def loop(
    setting: Setting,
    some: Sequence[Candidate],
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    order: int = 1,
) -> list[Weights]:
    """Train children one after the other, and return their weights; order -1 reverses batches."""
    task, found = TASKS[setting.task], []
    train, validation = (
        tuple(
            each.to(device, dtype) if each.is_floating_point() else each.to(device)
            for each in task.examples(split)
        )
        for split in ("train", "validation")
    )
    for child in some:
        module = task.initial(child.seed).to(device, dtype)
        optimizer = _optimizer(child, module)
        batches = batch_order(child.seed, len(train[0]), BATCH, setting.steps).to(device)
        for batch in batches if order == 1 else batches.flip(1):
            optimizer.zero_grad()
            task.loss(module, tuple(each[batch] for each in train)).backward()
            optimizer.step()
        with torch.no_grad():
            task.measure(module.eval(), validation)
        found.append({name: value.detach() for name, value in module.named_parameters()})
    return found


def population(
    setting: Setting,
    some: Sequence[Candidate],
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> list[Weights]:
    """Train children as one population, and return their weights."""
    protocol = Protocol(steps=setting.steps, batch_size=BATCH)
    task = TASKS[setting.task]
    results = train_population(
        task, some, protocol, device=device, dtype=dtype, points=1, keep_weights=True
    )
    return [result.weights or {} for result in results]


def _products() -> None:
    one = torch.ones(SIDE, SIDE)
    for _ in range(PRODUCTS):
        torch.mm(one, one)


def _looped(setting: Setting, some: Sequence[Candidate]) -> None:
    loop(setting, some)


def _stacked(setting: Setting, some: Sequence[Candidate]) -> None:
    population(setting, some)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def flops(setting: Setting) -> int:
    """Return the additions and multiplications of a child's step, both passes, from the shapes."""
    task = TASKS[setting.task]
    batch = tuple(each[:BATCH] for each in task.examples("train"))
    with FlopCounterMode(display=False) as counter:
        task.loss(task.initial(0), batch).backward()
    return int(counter.get_total_flops())


class Contest:
    """The six contestants of one task, and their times: microseconds per child and step."""

    def __init__(self, setting: Setting, pool: ProcessPoolExecutor) -> None:
        """Prepare the children."""
        self._setting, self._pool = setting, pool
        self._children = children(WORKERS * ROWS)
        self._scattered = children(WORKERS * ROWS, seeds=ROWS)
        self._flops = flops(setting)
        self._times: dict[str, list[float]] = {}

    def warm(self) -> None:
        """Have every process load the data and compile the rules."""
        few, brief = self._children[: len(NAMES)], Setting(self._setting.task, 2, 0, 0.0, 0.0)
        for work in (_looped, _stacked):
            work(brief, few)
            for done in [self._pool.submit(work, brief, few) for _ in range(WORKERS)]:
                done.result()

    def round(self) -> None:
        """Measure everything once."""
        setting, looped = self._setting, self._setting.looped
        halves = [self._children[k * looped : (k + 1) * looped] for k in range(WORKERS)]
        shared, scattered = (
            [every[k * ROWS : (k + 1) * ROWS] for k in range(WORKERS)]
            for every in (self._children, self._scattered)
        )
        work: dict[str, tuple[int, Callable[[], object]]] = {
            "person": (looped, lambda: loop(setting, halves[0])),
            "engine": (WORKERS * ROWS, lambda: self._side_by_side(_stacked, shared)),
            "fair": (WORKERS * looped, lambda: self._side_by_side(_looped, halves)),
            "scattered": (WORKERS * ROWS, lambda: self._side_by_side(_stacked, scattered)),
            "threads": (WORKERS * ROWS, lambda: population(setting, self._children)),
        }
        for name, (count, run) in work.items():
            time_each = 1e6 * _seconds(run) / (count * setting.steps)
            self._times.setdefault(name, []).append(time_each)
        seconds = _seconds(self._multiply)
        rate = WORKERS * PRODUCTS * 2 * SIDE**3 / seconds
        self._times.setdefault("floor", []).append(1e6 * self._flops / rate)

    def _side_by_side(
        self,
        work: Callable[[Setting, Sequence[Candidate]], None],
        parts: Sequence[Sequence[Candidate]],
    ) -> None:
        for done in [self._pool.submit(work, self._setting, part) for part in parts]:
            done.result()

    def _multiply(self) -> None:
        for done in [self._pool.submit(_products) for _ in range(WORKERS)]:
            done.result()

    def ratio(self, one: str, other: str) -> float:
        """Return the median over the rounds of how many times the other's time one takes."""
        pairs = zip(self._times[one], self._times[other], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def report(self) -> None:
        """Print and record what the rounds gave."""
        setting, us = self._setting, {n: statistics.median(t) for n, t in self._times.items()}
        print(
            f"{setting.task}: us per child and step: loop {us['person']:.0f} "
            f"({torch.get_num_threads()} threads; the first {setting.looped} of the "
            f"{WORKERS * ROWS} children), two loops side by side {us['fair']:.0f} (the first "
            f"{WORKERS * setting.looped}); engine, all children, seeds shared, "
            f"{us['engine']:.1f} (two workers of {ROWS} rows), {us['threads']:.1f} "
            f"(one process, {torch.get_num_threads()} threads, {WORKERS * ROWS} rows); "
            f"floor {us['floor']:.1f} ({self._flops / 1e6:.2f} MFLOP at "
            f"{self._flops / us['floor'] / 1e3:.0f} GFLOP/s)"
        )
        person, fair = self.ratio("person", "engine"), self.ratio("fair", "engine")
        alone = self.ratio("person", "threads")
        floor, most = self.ratio("engine", "floor"), self.ratio("fair", "floor")
        print(
            f"  {person:.1f} times the person's loop ({setting.person:g} wanted; {alone:.1f} in "
            f"one process), {fair:.1f} times the fair one ({setting.fair:g} wanted; the floor "
            f"lies at {most:.0f}); {floor:.1f} times the floor"
            + (f" ({setting.floor:g} wanted)" if setting.floor else "")
        )
        self._report_scattered(us["scattered"])
        record(
            f"population of {ROWS}, {setting.task}",
            person,
            peer="an ordinary loop, torch's own threads",
            at_least=setting.person,
            in_one_process=alone,
            us=us,
            steps=setting.steps,
        )
        record(
            f"population of {ROWS}, {setting.task}, two cores each",
            fair,
            peer="two ordinary loops of one thread side by side",
            at_least=setting.fair,
        )
        record(f"over the floor, {setting.task}", floor, at_most=setting.floor, most=most)

    def _report_scattered(self, us: float) -> None:
        task = self._setting.task
        person, fair = self.ratio("person", "scattered"), self.ratio("fair", "scattered")
        print(
            f"  a seed for each of the {ROWS} rows, no batch shared: engine {us:.1f} us, "
            f"{person:.1f} times the person's loop, {fair:.1f} times the fair one; "
            f"{self.ratio('scattered', 'engine'):.2f} times what it takes with seeds shared",
            flush=True,
        )
        record(
            f"population of {ROWS}, {ROWS} seeds, {task}",
            person,
            peer="an ordinary loop, torch's own threads",
            fair=fair,
            us=us,
        )


def differences(setting: Setting, dtype: torch.dtype, device: str = "cpu") -> list[float]:
    """Return how far the weights of population and loop are apart, child by child, sorted."""
    every = children(ROWS)
    ours = population(setting, every, dtype, device)[:COMPARED]
    return _apart(ours, loop(setting, every[:COMPARED], dtype, device))


def of_the_loop_itself(setting: Setting) -> list[float]:
    """Return the same of two float32 loops, the second with every batch in reverse."""
    some = children(ROWS)[:COMPARED]
    return _apart(loop(setting, some, order=-1), loop(setting, some))


def _apart(ours: Sequence[Weights], theirs: Sequence[Weights]) -> list[float]:
    return sorted(
        max(
            float((one[name].to(value.device) - value).abs().max() / value.abs().max())
            for name, value in other.items()
        )
        for one, other in zip(ours, theirs, strict=True)
    )


def _near(found: Sequence[float]) -> int:
    return sum(each <= 1e-5 for each in found)


def _compare_weights(setting: Setting, pool: ProcessPoolExecutor) -> None:
    dtypes = (torch.float32, torch.float64)
    found = [pool.submit(differences, setting, dtype) for dtype in dtypes]
    itself = pool.submit(of_the_loop_itself, setting).result()
    single, double = (done.result() for done in found)
    print(
        f"  final weights differ by {double[-1]:.0e} in float64 (the worst of {COMPARED} children);"
        f" in float32 by {single[COMPARED // 2]:.0e} (median; worst {single[-1]:.0e}; "
        f"{_near(single)} of {COMPARED} within 1e-5); the float32 loop from itself in reverse "
        f"by {itself[COMPARED // 2]:.0e} (worst {itself[-1]:.0e}; {_near(itself)} within 1e-5)",
        flush=True,
    )
    record(
        f"largest relative difference of weights, {setting.task}, float64",
        double[-1],
        "",
        at_most=1e-5,
    )
    record(
        f"children within 1e-5 of each other in float32, {setting.task}",
        _near(single),
        f"of {COMPARED}",
        peer="the loop against itself, batches in reverse",
        of_the_loop_itself=_near(itself),
        median=single[COMPARED // 2],
        worst=single[-1],
        worst_of_the_loop_itself=itself[-1],
    )


def main() -> None:
    """Measure the three tasks."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        WORKERS, context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        for setting in SETTINGS:
            contest = Contest(setting, pool)
            contest.warm()
            for _ in range(ROUNDS):
                contest.round()
            contest.report()
            _compare_weights(setting, pool)


if __name__ == "__main__":
    main()
