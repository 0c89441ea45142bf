import re
from datetime import UTC, datetime, timedelta

import pytest
from markupsafe import Markup

from service.web import typography


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.08321, "0.0832"),
        (1.0, "1.0000"),
        (-0.5, "−0.5000"),
        (12.3456, "12.35"),
        (0.0, "0.0000"),
        (4.1e-5, "4.1 × 10<sup>−5</sup>"),
        (2e7, "2 × 10<sup>7</sup>"),
        (9.999e-4, "10<sup>−3</sup>"),
        (None, typography.ABSENT),
        (float("inf"), typography.ABSENT),
    ],
)
def test_measured_values(value: float | None, expected: str) -> None:
    assert typography.figure(value) == expected


def test_a_spread_has_the_decimals_of_its_mean() -> None:
    assert typography.figure(0.00042, 0.1459) == "0.0004"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1e-3, "10<sup>−3</sup>"),
        (-1e-3, "−10<sup>−3</sup>"),
        (0.1, "0.1"),
        (3.162e-4, "3.16 × 10<sup>−4</sup>"),
        (64, "64"),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_settings(value: object, expected: str) -> None:
    assert typography.setting(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.05, "50 ms"),
        (9.5, "9.5 s"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
        (None, "–"),
    ],
)
def test_durations(seconds: float | None, expected: str) -> None:
    assert typography.duration(seconds) == expected


def test_moments_are_told_from_now_and_exactly() -> None:
    now = datetime(2026, 1, 2, 12, tzinfo=UTC)
    told = typography.ago(now - timedelta(minutes=3, seconds=4), now)
    assert ">3 min ago</time>" in told
    assert 'title="02 January 2026, 11:56:56 UTC"' in told


def test_percentages_reach_a_hundred_only_at_the_end() -> None:
    assert typography.percent(999, 1000) == "99 %"
    assert typography.percent(1000, 1000) == "100 %"


def test_python_keeps_every_character_and_marks_words() -> None:
    source = 'import math\n\n\ndef f(x):  # <b>\n    """Doc\n    more."""\n    return x < 1e-8\n'
    marked = typography.python(source)
    assert Markup(re.sub(r"</?span[^>]*>", "", marked)).unescape() == source
    assert marked.unescape().count("<b>") == 1
    assert '<span class="py-keyword">def</span>' in marked
    assert '<span class="py-comment"># &lt;b&gt;</span>' in marked
    assert '<span class="py-number">1e-8</span>' in marked


def test_what_is_no_python_is_set_plain() -> None:
    assert typography.python('"""never closed <') == "&#34;&#34;&#34;never closed &lt;"
