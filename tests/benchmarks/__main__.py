"""Run every benchmark: `python -m tests.benchmarks`, or with --long the studies too."""

import argparse
import platform
import runpy
import sys
from pathlib import Path

import torch


def main() -> None:
    """Describe the machine, then run each `bench_*.py` (and each `study_*.py` with --long)."""
    parser = argparse.ArgumentParser(description="Run the benchmarks and print their figures.")
    parser.add_argument("--long", action="store_true", help="also run the studies (hours)")
    arguments = parser.parse_args()

    cores = torch.get_num_threads()
    print(
        f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, torch", end=" "
    )
    print(torch.__version__, "with CUDA" if torch.cuda.is_available() else "without CUDA")
    patterns = ["bench_*.py", "study_*.py"] if arguments.long else ["bench_*.py"]
    folder = Path(__file__).parent
    sys.argv = sys.argv[:1]
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        print(f"\n== {path.stem} ==", flush=True)
        runpy.run_module(f"tests.benchmarks.{path.stem}", run_name="__main__")


if __name__ == "__main__":
    main()
