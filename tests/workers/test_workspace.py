import torch

from workers.workspace import Workspace


def test_memory_is_used_again_under_one_name_alone() -> None:
    space, like = Workspace(), torch.zeros(1)
    first = space.take("first", like, (2, 3))
    other = space.take("other", like, (2, 3))
    smaller = space.take("first", like, (4,))
    assert first.shape == (2, 3)
    assert smaller.data_ptr() == first.data_ptr() != other.data_ptr()
    assert space.take("first", like, (7,)).data_ptr() != first.data_ptr()


def test_tensors_are_of_the_kind_asked_for() -> None:
    space = Workspace()
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        taken = space.take("values", torch.zeros(1, dtype=dtype), (5, 2))
        assert taken.dtype is dtype
        assert taken.is_contiguous()
