"""Half a million hostile texts: does one crash the language, and how long does the worst take.

Each text goes as far as it gets: parse, check, print and parse again, canonical form, compile,
fingerprint, LaTeX. Anything but a rule or a RuleError is a crash, a RecursionError or MemoryError
too. Times are processor time; the slowest texts are tried again, and their best time counts, so
that a pause of the machine is nobody's fault.
"""

import argparse
import heapq
import random
import time
from collections import Counter

import torch

from optimizers.catalogue import CATALOGUE
from tests.benchmarks.results import record
from tests.dsl.hostile import KINDS, WEIGHTS, judge

TEXTS, SEED, LIMIT = 500_000, 20170917, 0.050
KEPT, AGAIN = 64, 5


def _time(text: str) -> float:
    began = time.process_time()
    judge(text)
    return time.process_time() - began


def main() -> None:
    """Throw the texts, and print what became of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=TEXTS)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = random.Random(arguments.seed)
    rules = [entry.rule for entry in CATALOGUE.values()]
    thrown: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    crashes: list[tuple[str, str]] = []
    slowest: list[tuple[float, int, str]] = []
    began = time.process_time()
    for number in range(arguments.texts):
        kind = source.choices(KINDS, WEIGHTS)[0]
        text = kind(source, rules)
        start = time.process_time()
        thrown[kind.__name__] += 1
        try:
            accepted[kind.__name__] += judge(text)
        except BaseException as error:  # whatever it is, it is a crash
            if isinstance(error, KeyboardInterrupt):
                raise
            crashes.append((f"{type(error).__name__}: {error}"[:80], text))
            continue
        entry = (time.process_time() - start, number, text)
        (heapq.heappush if len(slowest) < KEPT else heapq.heappushpop)(slowest, entry)
    spent = time.process_time() - began
    shares = ", ".join(f"{name} {accepted[name]}/{count}" for name, count in thrown.items())
    print(f"{arguments.texts} texts, accepted {accepted.total()}: {shares}")
    print(f"crashes: {len(crashes)}; {1e6 * spent / arguments.texts:.0f} microseconds a text")
    for what, text in crashes[:5]:
        print(f"  {what}: {text[:120]!r}")
    again = sorted((min(_time(t) for _ in range(AGAIN)), t) for _, _, t in slowest)
    for seconds, text in reversed(again[-3:]):
        print(f"  slowest: {1e3 * seconds:.1f} ms for {text[:80]!r}")
    over = sum(seconds > LIMIT for seconds, _ in again)
    print(f"slower than {1e3 * LIMIT:.0f} ms: {over}")
    record("hostile texts that crash the language", len(crashes), "texts", at_most=0)
    record("hostile texts slower than the limit", over, "texts", at_most=0, limit_s=LIMIT)
    record("the slowest hostile text", 1e3 * again[-1][0], "ms")
    record("a hostile text on average", 1e6 * spent / arguments.texts, "us", texts=arguments.texts)


if __name__ == "__main__":
    main()
