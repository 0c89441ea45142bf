"""Half of a surrogate pair, which JSON can say, is refused wherever in a body it stands."""

import json
from typing import Any

import pytest

from tests.service.web.conftest import TUNE, Live

HALF = "\ud800"
LR = {"type": "float", "low": 0.1, "high": 1.0}
BODIES: list[tuple[dict[str, Any], str]] = [
    ({"optimizer": HALF}, "#/optimizer"),
    ({"schedule": HALF}, "#/schedule"),
    ({"task": {"name": HALF}}, "#/task/name"),
    ({HALF: 1}, "#"),
    ({"enqueue": [{"lr": HALF}]}, "#/enqueue/0/lr"),
    ({"enqueue": [{HALF: 1}]}, "#/enqueue/0"),
    ({"objectives": [{"metric": HALF}]}, "#/objectives/0/metric"),
    ({"constraints": [{"metric": HALF, "at_most": 1}]}, "#/constraints/0/metric"),
    *(
        ({"space": {name: {"type": "categorical", "choices": [HALF]}}},
         f"#/space/{name}/choices/0")
        for name in ("schedule.name", "weight_decay.kind", "lr")
    ),
    ({"space": {"lr": {**LR, "when": {HALF: [1]}}}}, "#/space/lr/when"),
    ({"space": {"lr": {**LR, "when": {"beta1": ["cosine " + HALF]}}, "beta1": LR}},
     "#/space/lr/when/beta1/0"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "pointer"), BODIES)
@pytest.mark.parametrize("escaped", [True, False])
def test_half_a_pair_in_a_job_is_refused_where_it_stands(
    shared: Live, change: dict[str, Any], pointer: str, escaped: bool
) -> None:
    text = json.dumps({**TUNE, **change}, ensure_ascii=escaped)
    answer = shared.http.post(
        "/jobs?validate_only=true",
        content=text.encode("utf-8", "surrogatepass"),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422, answer.text
    (fault,) = answer.json()["errors"]
    assert fault["pointer"] == pointer
    assert "\\ud800" in fault["detail"]
    assert "write both halves or remove it" in fault["detail"]


def test_a_whole_pair_and_what_only_looks_like_half_of_one_are_taken(live: Live) -> None:
    job_id = live.submit(TUNE)
    notes = "\U0001f600 \\ud800 한"
    answer = live.http.patch(
        f"/jobs/{job_id}",
        content=json.dumps({"notes": notes}),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["notes"] == notes
