"""How jobs divide a cluster: all of it is used, everybody gets something, nobody waits."""

import pytest

from workers.sharing import on_gpus, per_gpu, share, slot


@pytest.mark.parametrize("places", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("jobs", [1, 2, 3, 4, 9])
def test_shares_are_even_and_use_all(places: int, jobs: int) -> None:
    shares = [share(places, jobs, rank) for rank in range(jobs)]
    assert sum(shares) == max(places, jobs)
    assert max(shares) - min(shares) <= 1
    assert min(shares) >= 1


@pytest.mark.parametrize("sharers", range(1, 65))
@pytest.mark.parametrize("cpus", [1, 2, 16])
def test_every_job_fits_at_once_even_where_each_still_believes_it_is_alone(
    sharers: int, cpus: int
) -> None:
    assert sharers * cpus * slot(sharers) <= cpus
    assert sharers * slot(sharers) > 0.99


@pytest.mark.parametrize(("gpus", "jobs"), [(1, 1), (1, 4), (2, 4), (3, 4), (4, 4), (8, 4)])
def test_gpus_have_a_place_for_every_job_and_one_job_takes_them_all(gpus: int, jobs: int) -> None:
    parts = per_gpu(gpus, jobs)
    assert gpus * parts >= jobs
    assert parts * slot(parts) <= 1
    # Ray fills a GPU's parts before it takes the next GPU.
    assert -(-on_gpus(gpus, jobs) // parts) == gpus
