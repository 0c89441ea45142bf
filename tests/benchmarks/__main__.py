"""Run every benchmark: `python -m tests.benchmarks`, or with --long the studies too.

Names choose some of them: `python -m tests.benchmarks population service`. The figures are kept
in a results file, whose path is printed in the end.
"""

import argparse
import importlib
import sys
from pathlib import Path

from tests.benchmarks.results import fresh_path, kept, machine, table


def _modules(long: bool) -> dict[str, str]:
    """Return the benchmarks' modules by their short names."""
    patterns = ["bench_*.py", "study_*.py"] if long else ["bench_*.py"]
    paths = sorted(path for pattern in patterns for path in Path(__file__).parent.glob(pattern))
    return {path.stem.split("_", 1)[1]: f"tests.benchmarks.{path.stem}" for path in paths}


def main() -> None:
    """Describe the machine, then run each `bench_*.py` (and each `study_*.py` with --long)."""
    parser = argparse.ArgumentParser(description="Run the benchmarks and keep their figures.")
    parser.add_argument("names", nargs="*", help="run only these, by the name after bench_")
    parser.add_argument("--long", action="store_true", help="also run the studies (hours)")
    parser.add_argument("--results", type=Path, help="the file to keep the figures in")
    arguments = parser.parse_args()
    modules = _modules(arguments.long)
    for name in arguments.names:
        if name not in modules:
            parser.error(f"there is no benchmark {name!r}; there are: {', '.join(modules)}")
    path = arguments.results or fresh_path()

    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    sys.argv = sys.argv[:1]
    with kept(path) as results:
        for name in arguments.names or modules:
            print(f"\n== {name} ==", flush=True)
            results.benchmark = name
            importlib.import_module(modules[name]).main()
    print(f"\n== all figures ==\n{table(results.figures)}\n\nkept in {path}")


if __name__ == "__main__":
    main()
