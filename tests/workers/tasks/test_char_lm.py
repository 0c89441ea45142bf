from pydoc_data.topics import topics

import pytest
import torch

from tests.workers.test_stacking import stacked
from workers.stacking import StackedModule
from workers.tasks.char_lm import ALPHABET, LENGTH, OTHER, SYMBOLS
from workers.tasks.registry import TASKS
from workers.tasks.task import Split

TASK = TASKS["char-lm"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def text(split: Split) -> str:
    (windows,) = TASK.examples(split)
    signs = [*ALPHABET, "~"]
    return "".join(signs[code] for window in windows.tolist() for code in window[:-1])


def test_windows_share_one_character_with_the_next() -> None:
    for split in SPLITS:
        (windows,) = TASK.examples(split)
        assert windows.shape[1] == LENGTH + 1
        assert torch.equal(windows[:-1, -1], windows[1:, 0])
        assert 0 <= int(windows.min()) <= int(windows.max()) < SYMBOLS
    assert len(TASK.examples("validation")[0]) == len(TASK.examples("test")[0]) == 512


def test_it_is_english_and_most_of_the_text() -> None:
    assert " the " in text("train")
    assert len(text("train")) > 200_000
    (windows,) = TASK.examples("train")
    assert 0.02 < float((windows == OTHER).float().mean()) < 0.2


def test_no_paragraph_stands_in_two_splits() -> None:
    paragraphs = {
        "".join(c if c in ALPHABET else "~" for c in " ".join(part.split()).lower())
        for topic in topics.values()
        for part in topic.split("\n\n")
    }
    long = [each for each in paragraphs if len(each) > 80]
    whole = {split: text(split) for split in SPLITS}
    held = {split: {each for each in long if each in whole[split]} for split in SPLITS}
    assert len(held["train"]) > 0.7 * len(long)
    assert held["validation"]
    assert not held["train"] & held["validation"]
    assert not held["train"] & held["test"]
    assert not held["validation"] & held["test"]


def test_a_character_is_predicted_from_those_before_it_alone() -> None:
    module = TASK.initial(0).double()
    (windows,) = TASK.examples("validation")
    changed = windows[:4].clone()
    changed[:, 8:] = (changed[:, 8:] + 1) % SYMBOLS
    with torch.no_grad():
        before, after = module(windows[:4]), module(changed)
    torch.testing.assert_close(before[:, :8], after[:, :8])
    assert not torch.allclose(before[:, 8:], after[:, 8:])


@pytest.mark.parametrize("shared", [True, False])
def test_the_step_by_hand_equals_the_stacked_module(shared: bool) -> None:
    rows = 11
    modules = [TASK.initial(seed).double() for seed in range(rows)]
    layout, flat, _ = stacked(modules)
    windows = TASK.examples("train")[0][: 6 * rows]
    batch = (windows[:20],) if shared else (windows.view(rows, 6, -1),)
    found = []
    for program in (TASK.stacked(), StackedModule(TASK)):
        gradients = torch.zeros_like(flat)
        losses = program.step(
            layout.views(flat), {}, batch, shared=shared, gradients=layout.views(gradients)
        )
        found.append((losses, layout.views(gradients)))
    (losses, gradients), (expected, by_autograd) = found
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-12)
    for name, value in by_autograd.items():
        assert value.abs().sum() > 0
        torch.testing.assert_close(gradients[name], value, rtol=1e-10, atol=1e-13, msg=name)


def test_measures_by_hand_equal_those_of_the_module() -> None:
    modules = [TASK.initial(seed).double() for seed in range(11)]
    layout, flat, _ = stacked(modules)
    examples = TASK.examples("validation")
    found = TASK.stacked().measure(layout.views(flat), {}, examples)
    with torch.no_grad():
        for i, module in enumerate(modules):
            expected = TASK.measure(module, examples)
            assert set(found) == set(expected)
            for name, value in expected.items():
                torch.testing.assert_close(found[name][i], value)
