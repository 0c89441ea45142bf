"""How the jobs that run side by side on one cluster divide it."""

import math

GRAIN = 10_000
"""Ray counts CPUs and GPUs in ten-thousandths."""


def slot(sharers: int) -> float:
    """Return the part of a CPU or GPU of which `sharers` fit, as Ray counts."""
    return math.floor(GRAIN / max(1, sharers)) / GRAIN


def per_gpu(gpus: int, jobs: int) -> int:
    """Return how many populations must fit on one GPU so that every job gets at least one."""
    return math.ceil(max(1, jobs) / max(1, gpus))


def on_gpus(gpus: int, jobs: int) -> int:
    """Return how many populations a cluster with GPUs trains at once.

    Where GPUs are divided, all their parts are used, by one job alone too: Ray fills a GPU before
    it takes the next one of the same machine, so fewer would leave GPUs idle.
    """
    parts = per_gpu(gpus, jobs)
    return gpus if gpus == 1 else gpus * parts


def share(places: int, jobs: int, rank: int) -> int:
    """Return how many of `places` populations belong to the job of this rank.

    Every job has one at least; what cannot be divided goes to the first ranks.

    Args:
        places: Populations that the whole cluster trains at once.
        jobs: Jobs that run now.
        rank: From 0, different for each of them.
    """
    whole, rest = divmod(places, max(1, jobs))
    return max(1, whole + (rank < rest))
