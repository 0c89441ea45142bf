"""Rules over REST: the leaderboard, a rule by hand, and its export."""

import ast
import subprocess
import sys
from pathlib import Path

from dsl.canonical import canonical_text, rule_id
from optimizers.catalogue import CATALOGUE
from service.resources import JobState
from tests.service.web.conftest import DISCOVER, TUNE, Live, outcome, proposal


def test_a_rule_by_hand_is_kept_once_in_canonical_form(live: Live) -> None:
    first = live.http.post("/rules", json={"text": "g + 0.5 * sign(g)", "label": "mine"})
    assert first.status_code == 201, first.text
    entry = first.json()
    assert first.headers["location"] == f"/api/v1/rules/{entry['id']}"
    assert entry["text"] == canonical_text("g + 0.5 * sign(g)")
    assert entry["id"] == rule_id("g + 0.5 * sign(g)")
    assert entry["latex"]
    for more in ({}, {"label": "mine"}):
        again = live.http.post("/rules", json={"text": "  g+0.5*sign( g )", **more})
        assert again.status_code == 200
        assert again.json() == entry
    assert live.http.get(f"/rules/{entry['id']}").json()["id"] == entry["id"]


def test_another_label_for_a_known_rule_is_a_conflict(live: Live) -> None:
    live.http.post("/rules", json={"text": "g + 0.5 * sign(g)", "label": "mine"})
    before = live.dump()
    for text, known in (("sign(g) * 0.5 + g", "mine"), ("g", "sgd")):
        answer = live.http.post("/rules", json={"text": text, "label": "yours"})
        assert answer.status_code == 409
        (fault,) = answer.json()["errors"]
        assert fault["pointer"] == "#/label"
        assert f"'{known}'" in fault["detail"]
        assert "'yours'" in fault["detail"]
    assert live.dump() == before


def test_a_known_rule_without_a_label_can_be_given_one(live: Live) -> None:
    assert live.http.post("/rules", json={"text": "g + 0.5 * sign(g)"}).json()["label"] is None
    answer = live.http.post("/rules", json={"text": "g + 0.5 * sign(g)", "label": "mine"})
    assert (answer.status_code, answer.json()["label"]) == (200, "mine")


def test_a_named_optimizer_is_a_rule(live: Live) -> None:
    entry = live.http.get("/rules/adam").json()
    assert entry["id"] == rule_id(CATALOGUE["adam"].rule)
    assert live.http.get(f"/rules/{entry['id']}").json() == entry


def _judge(live: Live, rule: str, value: float) -> str:
    job = live.submit(DISCOVER)
    claim = live.claim()
    live.store.record_asked(claim, [proposal(0, rule, lr=0.1)])
    live.store.record_told(claim, [outcome(0, value)], None)
    live.store.finish(claim, JobState.SUCCEEDED)
    return job


def test_the_leaderboard_ranks_rules_over_jobs(live: Live) -> None:
    worse = _judge(live, CATALOGUE["adamw"].rule, 0.3)
    better = _judge(live, "sign(g)", 0.2)
    page = live.http.get("/rules", params={"task": "digits-mlp"}).json()
    assert [row["job_id"] for row in page["items"]] == [better, worse]
    assert [row["value"] for row in page["items"]] == [0.2, 0.3]
    assert live.http.get("/rules", params={"task": "none"}).json()["items"] == []
    own = live.http.get("/rules", params={"filter": f"job_id = {worse}"}).json()["items"]
    assert [row["job_id"] for row in own] == [worse]
    entry = live.http.get(f"/rules/{page['items'][0]['rule_id']}").json()
    assert entry["standings"][0]["value"] == 0.2


def test_an_exported_rule_is_a_file_that_runs_alone(live: Live, tmp_path: Path) -> None:
    job = _judge(live, "g + 0.5 * sign(g)", 0.2)
    rule = live.http.get("/rules").json()["items"][0]["rule_id"]
    answer = live.http.get(f"/rules/{rule}/export?format=torch")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/x-python")
    assert answer.headers["content-disposition"] == f'attachment; filename="rule_{rule}.py"'
    ast.parse(answer.text)
    assert job in answer.text
    assert "validation_loss 0.2 +- 0.01" in answer.text
    file = tmp_path / "exported.py"
    file.write_text(answer.text)
    code = (
        "import torch, exported; w = torch.ones(3, requires_grad=True); "
        "o = exported.Rule([w]); w.sum().backward(); o.step(); print(w.tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-P", "-c", f"import sys; sys.path[:0] = ['.']; {code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # The learning rate is the trial's, 0.1: 1 - 0.1 (1 + 0.5).
    assert ast.literal_eval(done.stdout) == [0.8500000238418579] * 3


def test_an_exported_tuned_optimizer_has_the_numbers_that_were_found(live: Live) -> None:
    space = {name: {"type": "float", "low": 0.01, "high": 0.9} for name in
             ("lr", "weight_decay", "beta1")}  # fmt: skip
    live.submit({**TUNE, "space": space})
    claim = live.claim()
    asked = proposal(0, CATALOGUE["adamw"].rule, lr=0.125, weight_decay=0.0625, beta1=0.75)
    live.store.record_asked(claim, [asked])
    told = outcome(0, 0.1).model_copy(update={"lr": 0.125})
    live.store.record_told(claim, [told], None)
    text = live.http.get("/rules/adamw/export").text
    assert "lr=0.125" in text
    assert "beta1=0.75" in text
    assert "beta2=0.999" in text
    assert "weight_decay=0.0625" in text


def test_a_named_optimizer_is_exported_and_latex_too(live: Live) -> None:
    assert "class" in live.http.get("/rules/powersign/export").text
    answer = live.http.get("/rules/powersign/export?format=optax")
    assert answer.headers["content-type"].startswith("text/x-python")
    assert "optax.GradientTransformation" in answer.text
    answer = live.http.get("/rules/powersign/export?format=latex")
    assert answer.headers["content-type"].startswith("application/x-tex")
    assert "\\" in answer.text


def test_what_a_job_can_name_is_told(live: Live) -> None:
    optimizers = {entry["name"]: entry for entry in live.http.get("/optimizers").json()["items"]}
    assert {"sgd", "momentum", "rmsprop", "adam", "adamw"} <= optimizers.keys()
    adam = optimizers["adam"]
    assert adam["rule_id"] == rule_id(CATALOGUE["adam"].rule)
    assert adam["hyperparameters"]["beta2"] == 0.999
    assert adam["paper"]
    tasks = {task["name"]: task for task in live.http.get("/tasks").json()["items"]}
    assert "validation_loss" in tasks["digits-mlp"]["metrics"]
    assert "test_loss" not in tasks["digits-mlp"]["metrics"]
