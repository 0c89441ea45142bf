import os
from pathlib import Path

import pytest
import torch

from workers.memory import Peak, _left_in_groups, free_bytes, out_of_memory, release

CPU = torch.device("cpu")


def test_a_refused_allocation_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 60)
    assert out_of_memory(refused.value)
    with pytest.raises(MemoryError) as refused_by_python:
        bytearray(1 << 60)
    assert out_of_memory(refused_by_python.value)
    with pytest.raises(RuntimeError) as other:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not out_of_memory(other.value)


def test_what_is_free_is_some_of_the_machines_memory() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert total / 1000 < free_bytes(CPU) < total
    release(CPU)


@pytest.mark.parametrize(
    ("listing", "folder", "names", "cached"),
    [
        ("0::/jobs/one\n", "jobs/one", ("memory.max", "memory.current"), "inactive_file"),
        (
            "5:cpu,memory:/jobs/one\n0::/\n",
            "memory/jobs/one",
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
            "total_inactive_file",
        ),
    ],
)
def test_control_groups_and_their_parents_bound_what_is_free(
    tmp_path: Path, listing: str, folder: str, names: tuple[str, str], cached: str
) -> None:
    (tmp_path / "listing").write_text(listing)
    own = tmp_path / "groups" / folder
    own.mkdir(parents=True)
    for place, numbers in ((own, ("max", "600")), (own.parent, ("1000", "700"))):
        for name, number in zip(names, numbers, strict=True):
            (place / name).write_text(f"{number}\n")
        (place / "memory.stat").write_text(f"anon 5\n{cached} 50\n")
    assert list(_left_in_groups(tmp_path / "groups", tmp_path / "listing")) == [350]
    (own / names[0]).write_text("100\n")
    assert list(_left_in_groups(tmp_path / "groups", tmp_path / "listing")) == [0, 350]


def test_a_peak_counts_what_lives_at_once_and_views_not() -> None:
    with Peak() as peak:
        one = torch.zeros(1000)
        two = one.view(10, 100)[:5] + 1
        del one, two
        torch.zeros(1200)
    assert peak.bytes == 4 * 1500
    with Peak() as peak:
        torch.func.vmap(lambda x: (x.exp() * 2).sum())(torch.zeros(10, 100))
    assert 2 * 4000 <= peak.bytes <= 3 * 4000 + 40


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_is_free_on_a_gpu_counts_what_torch_keeps() -> None:
    device = torch.device("cuda")
    before = free_bytes(device)
    held = torch.ones(64 * 2**20, device=device)
    assert before - free_bytes(device) >= held.nbytes // 2
    del held
    assert free_bytes(device) >= before - 2**22
    with pytest.raises(torch.OutOfMemoryError) as refused:
        torch.empty(1 << 50, device=device)
    assert out_of_memory(refused.value)
