"""Run every benchmark: `python -m tests.benchmarks`, or with --long the studies too.

Names choose some of them, studies too: `python -m tests.benchmarks population rediscovery`. The
figures are kept in a results file, whose path is printed in the end.
"""

import argparse
import importlib
import sys
from pathlib import Path

from tests.benchmarks.results import fresh_path, kept, machine, table

STUDIES = (
    "also run the studies: enumeration (where does a search's best stand among all rules?), "
    "rediscovery (is PowerSign's idea found again?), search (do the strategies beat chance?), tpe "
    "(does it beat random search?) and unseen (do found rules beat AdamW elsewhere?), some 45 "
    "minutes on two cores"
)


def _modules(long: bool) -> dict[str, str]:
    """Return the benchmarks' modules by their short names."""
    patterns = ["bench_*.py", "study_*.py"] if long else ["bench_*.py"]
    paths = sorted(path for pattern in patterns for path in Path(__file__).parent.glob(pattern))
    return {path.stem.split("_", 1)[1]: f"tests.benchmarks.{path.stem}" for path in paths}


def main() -> None:
    """Describe the machine, then run each `bench_*.py` (and each `study_*.py` with --long)."""
    every = _modules(long=True)
    parser = argparse.ArgumentParser(description="Run the benchmarks and keep their figures.")
    parser.add_argument("names", nargs="*", help="run only these: " + ", ".join(every))
    parser.add_argument("--long", action="store_true", help=STUDIES)
    parser.add_argument("--results", type=Path, help="the file to keep the figures in")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in every:
            parser.error(f"there is no benchmark {name!r}; there are: {', '.join(every)}")
    path = arguments.results or fresh_path()

    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    sys.argv = sys.argv[:1]
    with kept(path) as results:
        for name in arguments.names or _modules(arguments.long):
            print(f"\n== {name} ==", flush=True)
            results.benchmark = name
            importlib.import_module(every[name]).main()
    print(f"\n== all figures ==\n{table(results.figures)}\n\nkept in {path}")


if __name__ == "__main__":
    main()
