import pytest
import torch
from sklearn.datasets import load_digits

from workers.layout import Layout
from workers.stacking import StackedModule
from workers.tasks import digits_mlp
from workers.tasks.digits_mlp import DigitsMLP

TASK = DigitsMLP()


def test_splits_are_the_real_digits_each_exactly_once() -> None:
    splits = [TASK.examples(name) for name in ("train", "validation", "test")]
    assert [len(targets) for _, targets in splits] == [1079, 359, 359]
    pixels, digits = load_digits(return_X_y=True)
    found = sorted(
        (*(16 * image).int().tolist(), digit)
        for inputs, targets in splits
        for image, digit in zip(inputs, targets.tolist(), strict=True)
    )
    expected = sorted(
        (*image, digit) for image, digit in zip(pixels.astype(int).tolist(), digits, strict=True)
    )
    assert found == expected


def test_splits_never_change() -> None:
    heads = {name: TASK.examples(name)[1][:8].tolist() for name in ("train", "validation", "test")}
    assert heads == {
        "train": [2, 8, 2, 6, 6, 7, 1, 9],
        "validation": [4, 1, 2, 3, 1, 0, 5, 8],
        "test": [9, 4, 7, 0, 2, 6, 1, 3],
    }


def test_every_digit_stands_in_every_split() -> None:
    for name in ("train", "validation", "test"):
        assert TASK.examples(name)[1].bincount(minlength=10).min() >= 25


@pytest.mark.parametrize("shared", [True, False])
def test_the_step_by_hand_equals_the_stacked_module(shared: bool) -> None:
    rows, layout = 5, Layout(TASK.initial(0))
    modules = [TASK.initial(seed) for seed in range(rows)]
    flat = torch.stack([layout.pack(dict(each.named_parameters())) for each in modules]).double()
    inputs, targets = TASK.examples("train")
    chosen = torch.arange(48) if shared else torch.arange(48 * rows).view(rows, 48)
    batch = (inputs.double()[chosen], targets[chosen])
    found, expected = torch.zeros_like(flat), torch.zeros_like(flat)
    by_hand = TASK.stacked().step(
        layout.views(flat), {}, batch, shared=shared, gradients=layout.views(found)
    )
    by_autograd = StackedModule(TASK).step(
        layout.views(flat), {}, batch, shared=shared, gradients=layout.views(expected)
    )
    torch.testing.assert_close(by_hand, by_autograd, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)
    assert found.abs().sum() > 0


def test_measures_by_hand_equal_those_of_the_module() -> None:
    layout = Layout(TASK.initial(0))
    modules = [TASK.initial(seed) for seed in range(3)]
    flat = torch.stack([layout.pack(dict(each.named_parameters())) for each in modules])
    examples = TASK.examples("validation")
    found = TASK.stacked().measure(layout.views(flat), {}, examples)
    with torch.no_grad():
        for i, module in enumerate(modules):
            expected = TASK.measure(module, examples)
            assert set(found) == set(expected)
            for name, value in expected.items():
                torch.testing.assert_close(found[name][i], value)


def test_equal_logits_are_no_answer_however_large_they_are() -> None:
    layout = Layout(TASK.initial(0))
    flat = torch.full((1, layout.width), 1e12)
    found = TASK.stacked().measure(layout.views(flat), {}, TASK.examples("validation"))
    assert float(found["loss"][0]) == pytest.approx(2.302585, abs=1e-6)
    assert float(found["accuracy"][0]) < 0.2


def test_a_stack_that_lost_all_its_rows_is_measured_to_nothing() -> None:
    weights = Layout(TASK.initial(0)).views(torch.zeros(0, 2432))
    found = TASK.stacked().measure(weights, {}, TASK.examples("validation"))
    assert {name: len(values) for name, values in found.items()} == {"loss": 0, "accuracy": 0}


def test_rows_that_are_computed_one_after_the_other_have_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = Layout(TASK.initial(0))
    flat = torch.stack([layout.pack(dict(TASK.initial(k).named_parameters())) for k in range(7)])
    images, targets = TASK.examples("train")
    found = []
    for size in (16_384, 128):
        monkeypatch.setitem(digits_mlp.AT_ONCE, "cpu", size)
        gradients = torch.zeros_like(flat)
        batch = (images[:64], targets[:64])
        losses = TASK.stacked().step(
            layout.views(flat), {}, batch, shared=True, gradients=layout.views(gradients)
        )
        measured = TASK.stacked().measure(layout.views(flat), {}, TASK.examples("validation"))
        found.append((losses, gradients, *measured.values()))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
