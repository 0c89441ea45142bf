"""The benchmark of a GPU, small and on the CPU; its lines and figures."""

from pathlib import Path

import pytest
import torch

from tests.benchmarks.bench_gpu import main, measure
from tests.benchmarks.bench_population import Setting
from tests.benchmarks.results import kept


def test_loop_and_both_populations_are_measured_on_the_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with kept(tmp_path / "figures.jsonl") as results:
        measure(Setting("digits-mlp", 5, 8, 0.0, 0.0), "cpu", rows=16, count=1)
    shared, scattered, apart = results.figures
    assert (shared.what, scattered.what) == (
        "population of 16 on cpu, one seed, digits-mlp",
        "population of 16 on cpu, 16 seeds, digits-mlp",
    )
    assert min(shared.value, scattered.value) > 0
    assert apart.met
    assert "the first 8 of the 16 children" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="measures where there is a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    assert "no CUDA device" in capsys.readouterr().out
