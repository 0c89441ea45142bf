"""Discover jobs by every strategy and language, as a person submits them."""

from typing import Any

import httpx
import pytest

from tests.service.web.conftest import DISCOVER, Live

OWN = {"operands": ["g", "ema(g, 0.95)"], "unary": ["{x}", "sign"], "binary": ["*", "{x}"]}


@pytest.mark.parametrize(
    ("strategy", "language", "said"),
    [
        ({"name": "evolution", "start": ["adam", "m * g"]}, {"preset": "full"}, "evolution"),
        ({"name": "random"}, {"preset": "sign", "groups": 3},
         "by random sampling, in the <b>sign</b> language with 3 groups of primitives. Each of"),
        ({"name": "reinforcement", "patience": None, "novelty": 1.0}, OWN, "policy optimisation"),
        ({"name": "random"}, {"preset": "decays", "rule": "powersign"}, "up to 2 decays"),
    ],
)  # fmt: skip
def test_a_job_is_taken_and_its_page_says_what_it_does(
    live: Live, strategy: dict[str, Any], language: dict[str, Any], said: str
) -> None:
    body = {**DISCOVER, "strategy": strategy, "language": language}
    answer = live.http.post("/jobs", json=body)
    assert answer.status_code == 201, answer.text
    kept = answer.json()["spec"]
    assert strategy.items() <= kept["strategy"].items()
    assert language.items() <= kept["language"].items()
    page = httpx.get(f"{live.url}/jobs/{answer.json()['id']}", trust_env=False)
    assert page.status_code == 200
    assert said in " ".join(page.text.split())
