"""A job that cannot be is refused; the answer names the field and what is allowed."""

import copy
import json
from typing import Any

import pytest

from tests.service.web.conftest import DISCOVER, TUNE, Live

BIG = 10**9


def changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return the body with the value at `path` (keys joined by dots) replaced."""
    body = copy.deepcopy(base)
    *keys, last = path.split(".")
    here = body
    for key in keys:
        here = here[key]
    here[last] = value
    return body


def without(base: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in base.items() if key != name}


LR = {"type": "float", "low": 1e-5, "high": 1, "log": True}
BETA = {"type": "float", "low": 0.5, "high": 0.99}

RULE = {**without(TUNE, "optimizer"), "rule": "sign(ema(g, beta))"}

# body, the field's pointer, words of its detail
JOBS: dict[str, tuple[Any, str, list[str]]] = {
    "unknown kind": (changed(TUNE, "kind", "tuna"), "#/kind", ["'tuna'", "'tune'", "'discover'"]),
    "no kind": (without(TUNE, "kind"), "#/kind", ["required", "tune"]),
    "unknown task": (
        changed(TUNE, "task.name", "mnist"), "#/task/name", ["'mnist'", "digits-mlp"],
    ),
    "unknown optimizer": (
        changed(TUNE, "optimizer", "adamx"), "#/optimizer", ["'adamx'", "adamw", "sgd"],
    ),
    "unknown sampler": (
        changed(TUNE, "sampler.name", "magic"), "#/sampler/name", ["'tpe'", "'random'", "'magic'"],
    ),
    "unknown pruner": (
        changed(TUNE, "pruner.name", "axe"), "#/pruner/name", ["'axe'", "successive_halving"],
    ),
    "unknown schedule": (
        changed(TUNE, "schedule", "zigzag"), "#/schedule", ["'zigzag'", "cosine"],
    ),
    "unknown schedule setting": (
        changed(TUNE, "schedule", {"name": "cosine", "settings": {"t": 1}}),
        "#/schedule/settings/t", ["'t'", "warmup"],
    ),
    "unknown metric": (
        changed(TUNE, "objective.metric", "test_loss"),
        "#/objective/metric", ["'test_loss'", "validation_loss"],
    ),
    "unknown direction": (
        changed(TUNE, "objective.direction", "sideways"),
        "#/objective/direction", ["'minimize'", "'maximize'"],
    ),
    "unknown field": (
        {**TUNE, "bugdet": 3}, "#/bugdet", ["'bugdet'", "did you mean 'budget'", "optimizer"],
    ),
    "unknown nested field": (
        changed(TUNE, "budget.trails", 3), "#/budget/trails", ["'trials'", "steps"],
    ),
    "unknown field of a parameter": (
        changed(TUNE, "space.lr", {**LR, "lo": 1}), "#/space/lr/lo", ["low", "high", "log"],
    ),
    "unknown parameter": (
        changed(TUNE, "space", {"lrr": LR}), "#/space/lrr", ["'lrr'", "lr", "beta1"],
    ),
    "low above high": (
        changed(TUNE, "space.lr", {**LR, "low": 1, "high": 0.1}),
        "#/space/lr/low", ["1", "0.1", "low"],
    ),
    "low equals high": (
        changed(TUNE, "space.lr", {**LR, "low": 1, "high": 1}),
        "#/space/lr/low", ["less than high"],
    ),
    "log of zero": (
        changed(TUNE, "space.lr", {**LR, "low": 0}), "#/space/lr/low", ["log", "greater than 0"],
    ),
    "integer log of zero": (
        changed(TUNE, "space.lr", {"type": "int", "low": 0, "high": 9, "log": True}),
        "#/space/lr/low", ["greater than 0"],
    ),
    "range beyond numbers": (
        changed(TUNE, "space.lr", {"type": "float", "low": -1.5e308, "high": 1.5e308}),
        "#/space/lr/high", ["high - low"],
    ),
    "a text as choice": (
        changed(TUNE, "space.lr", {"type": "categorical", "choices": [0.1, "big"]}),
        "#/space/lr/choices/1", ["'big'", "number"],
    ),
    "no choices": (
        changed(TUNE, "space.lr", {"type": "categorical", "choices": []}),
        "#/space/lr/choices", ["at least 1"],
    ),
    "an empty space": (
        changed(TUNE, "space", {}), "#/space", ["at least 1 entry", "got {}", '"lr"'],
    ),
    "unknown type of parameter": (
        changed(TUNE, "space.lr.type", "double"),
        "#/space/lr/type", ["'double'", "'float'", "'int'", "'categorical'"],
    ),
    "a budget of 0": (
        changed(TUNE, "budget.trials", 0), "#/budget/trials", ["1 or more", "got 0"],
    ),
    "a budget of 10^9": (
        changed(TUNE, "budget.trials", BIG),
        "#/budget/trials", ["1000000 or less", str(BIG)],
    ),
    "a negative budget": (changed(TUNE, "budget.trials", -1), "#/budget/trials", ["-1"]),
    "steps of 10^9": (changed(TUNE, "budget.steps", BIG), "#/budget/steps", ["1000000"]),
    "rules of 0": (changed(DISCOVER, "budget.rules", 0), "#/budget/rules", ["1 or more"]),
    "rules of 10^9": (changed(DISCOVER, "budget.rules", BIG), "#/budget/rules", ["1000000"]),
    "no budget": (without(TUNE, "budget"), "#/budget", ["required"]),
    "the other kind's budget": (
        changed(TUNE, "budget", {"rules": 5}), "#/budget/trials", ["required"],
    ),
    "unknown strategy": (
        changed(DISCOVER, "strategy.name", "luck"), "#/strategy/name", ["'luck'", "'random'"],
    ),
    "unknown preset": (
        changed(DISCOVER, "language.preset", "english"), "#/language/preset", ["'nos'"],
    ),
    "an operator that is none": (
        changed(DISCOVER, "language.unary", ["exp", "tanh"]),
        "#/language/unary/1", ["'tanh'", "sign", "'exp({x})'"],
    ),
    "an operand that is none": (
        changed(DISCOVER, "language.operands", ["g", "grad"]),
        "#/language/operands/1", ["'grad'", "sign(m)"],
    ),
    "a template that reaches for attributes": (
        changed(DISCOVER, "language.binary", ["{x.__class__}"]),
        "#/language/binary/0", ["'{x.__class__}'", "{x} * {y}"],
    ),
    "the same word twice": (
        changed(DISCOVER, "language.binary", ["*", "{x} * {y}"]),
        "#/language/binary/1", ["there already, at index 0"],
    ),
    "a language without the gradient": (
        changed(DISCOVER, "language.operands", ["w", "1"]), "#/language", ["say no rule", "with g"],
    ),
    "a rule to start from that is none": (
        {**DISCOVER, "strategy": {"name": "evolution", "start": ["adam", "adamm"]}},
        "#/strategy/start/1", ["'adamm'", "catalogue", "'adam'"],
    ),
    "decays of no rule": (
        changed(DISCOVER, "language.preset", "decays"), "#/language/rule", ["required"],
    ),
    "decays of a rule that is none": (
        {**DISCOVER, "language": {"preset": "decays", "rule": "powersgn"}},
        "#/language/rule", ["'powersgn'", "'powersign'"],
    ),
    "a rule beside another preset": (
        changed(DISCOVER, "language.rule", "adam"), "#/language/rule", ["'decays'"],
    ),
    "a decay that is none": (
        {**DISCOVER, "language": {"preset": "decays", "rule": "adam", "operands": ["ld", "g"]}},
        "#/language/operands/1", ["'g'", "rd(10)"],
    ),
    "more decays than places": (
        {**DISCOVER, "language": {"preset": "decays", "rule": "g", "groups": 3}},
        "#/language", ["1 place for a decay", "groups is 3"],
    ),
    "evolution of decays": (
        {
            **DISCOVER,
            "strategy": {"name": "evolution"},
            "language": {"preset": "decays", "rule": "adam"},
        },
        "#/strategy/name", ["'random'"],
    ),
    "five groups": (changed(DISCOVER, "language.groups", 5), "#/language/groups", ["4", "5"]),
    "unknown baseline": (
        {**DISCOVER, "comparison": {"baselines": ["sgd", "adamx"]}},
        "#/comparison/baselines/1", ["'adamx'", "adamw"],
    ),
    "unknown unseen task": (
        {**DISCOVER, "comparison": {"tasks": ["wine", "beer"]}},
        "#/comparison/tasks/1", ["'beer'", "wine"],
    ),
    "an unseen task twice": (
        {**DISCOVER, "comparison": {"tasks": ["wine", "wine"]}},
        "#/comparison/tasks/1", ["wine is there already, at index 0"],
    ),
    "an unseen task that is seen": (
        {**DISCOVER, "comparison": {"tasks": ["wine", "digits-mlp"]}},
        "#/comparison/tasks/1", ["digits-mlp is the task of the search"],
    ),
    "an unseen task that does not measure the objective": (
        {
            **changed(DISCOVER, "objective", {"metric": "validation_accuracy",
                                              "direction": "maximize"}),
            "comparison": {"tasks": ["diabetes"]},
        },
        "#/comparison/tasks/0", ["'validation_accuracy'", "validation_r2"],
    ),
    "long runs without end": (
        {**DISCOVER, "comparison": {"steps": 200_000, "long": True}},
        "#/comparison/long", ["200000", "100000"],
    ),
    "unknown precision of a tune job": (
        {**TUNE, "protocol": {"precision": "float16"}},
        "#/protocol/precision", ["'float32'", "'tf32'", "'bfloat16'", '"float16"'],
    ),
    "unknown precision of a comparison": (
        {**DISCOVER, "comparison": {"precision": 16}},
        "#/comparison/precision", ["'float32'", "'tf32'", "'bfloat16'", "16"],
    ),
    "batches of nothing": (
        {**TUNE, "protocol": {"batch_size": 0}}, "#/protocol/batch_size", ["1 or more", "0"],
    ),
    "batches of everything": (
        {**DISCOVER, "protocol": {"batch_size": BIG}}, "#/protocol/batch_size", ["65536"],
    ),
    "too many seeds": (
        {**TUNE, "protocol": {"seeds": 65}}, "#/protocol/seeds", ["64 or less", "65"],
    ),
    "steps of a tune job in its protocol": (
        {**TUNE, "protocol": {"steps": 5}}, "#/protocol/steps", ["'steps'", "seeds", "grid_steps"],
    ),
    "a short run of a fraction": (
        {**DISCOVER, "comparison": {"grid_steps": 0.5}}, "#/comparison/grid_steps", ["0.5"],
    ),
    "a pruner of a comparison": (
        {**DISCOVER, "comparison": {"pruner": {"name": "none"}}},
        "#/comparison/pruner", ["'pruner'", "baselines"],
    ),
    "unknown pruner of a discover job": (
        {**DISCOVER, "protocol": {"pruner": {"name": "axe"}}},
        "#/protocol/pruner/name", ["'axe'", "successive_halving"],
    ),
    "a learning rate twice in a comparison": (
        {**DISCOVER, "comparison": {"learning_rates": [0.1, 0.1]}},
        "#/comparison/learning_rates/1", ["0.1 is there already, at index 0"],
    ),
    "an absurd learning rate of a tune job": (
        {**TUNE, "protocol": {"learning_rates": [1.0, 1e300]}},
        "#/protocol/learning_rates/1", ["1e+300", "1e+06"],
    ),
    "no learning rates": (
        {**DISCOVER, "protocol": {"learning_rates": []}},
        "#/protocol/learning_rates", ["at least 1"],
    ),
    "a learning rate of 0": (
        {**DISCOVER, "protocol": {"learning_rates": [0.0]}},
        "#/protocol/learning_rates/0", ["greater than 0"],
    ),
    "a number as name": (changed(TUNE, "name", 7), "#/name", ["text", "got 7", "adamw on digits"]),
    "an empty name": (changed(TUNE, "name", ""), "#/name", ["at least 1"]),
    "a long name": (changed(TUNE, "name", "x" * 65), "#/name", ["64"]),
    "a name with markup": (
        changed(TUNE, "name", "<img onerror=1>"), "#/name", ["not allowed", "letters, digits"],
    ),
    "a name with NUL": (
        changed(TUNE, "name", "a\0b"), "#/name", ["not allowed", "letters, digits"],
    ),
    "a name with a newline": (
        changed(TUNE, "name", "a\nb"), "#/name", ["not allowed", "letters, digits"],
    ),
    "a lone surrogate": (changed(TUNE, "name", "\ud800"), "#/name", ["Unicode"]),
    "a text as seed": (changed(TUNE, "seed", "0"), "#/seed", ["integer", '"0"']),
    "true as seed": (changed(TUNE, "seed", True), "#/seed", ["integer", "true"]),
    "a fraction as seed": (changed(TUNE, "seed", 0.5), "#/seed", ["integer", "0.5"]),
    "a seed beyond 31 bits": (changed(TUNE, "seed", 2**31), "#/seed", ["2147483648"]),
    "a seed beyond 64 bits": (changed(TUNE, "seed", 2**70), "#/seed", ["less than"]),
    "true as low": (changed(TUNE, "space.lr", {**LR, "low": True}), "#/space/lr/low", ["number"]),
    "a list as space": (changed(TUNE, "space", [1]), "#/space", ["object", "got [1]", '"lr"']),
    "null as task": (
        changed(TUNE, "task", None), "#/task", ["object", "got null", '{"name": "digits-mlp"}'],
    ),
    "a population of 0": ({**TUNE, "population": 0}, "#/population", ["1 or more"]),
    "a list as body": ([1, 2], "#", ["object", '"kind"']),
    "null as body": (None, "#", []),
    "a text as body": ("tune", "#", []),
    "a setting called like another function's argument": (
        changed(TUNE, "schedule", {"name": "cosine", "settings": {"total": 1}}),
        "#/schedule/settings/total", ["no setting", "warmup"],
    ),
    "unknown schedule by its field": (
        changed(TUNE, "schedule", {"name": "zigzag"}), "#/schedule/name", ["'zigzag'", "cosine"],
    ),
    "log and step": (
        changed(TUNE, "space.lr", {**LR, "step": 0.1}), "#/space/lr/step", ["leave step out"],
    ),
    "a learning rate below 0": (
        changed(TUNE, "space.lr", {"low": -0.1, "high": 1, "type": "float"}),
        "#/space/lr/low", ["-0.1", "0 to 1e+06"],
    ),
    "a weight decay below 0": (
        changed(TUNE, "space.weight_decay", {"type": "categorical", "choices": [0, -1]}),
        "#/space/weight_decay/choices/1", ["-1", "0 to 1e+06"],
    ),
    "an absurd weight decay": (
        changed(TUNE, "space.weight_decay", {"type": "float", "low": 0, "high": 1e300}),
        "#/space/weight_decay/high", ["1e+300", "1e+06"],
    ),
    "an average that forgets nothing": (
        changed(TUNE, "space", {"beta2": {"type": "float", "low": 0.9, "high": 1}}),
        "#/space/beta2/high", ["beta2 can be 1", "value < 1"],
    ),
    "an average below 0": (
        {**changed(TUNE, "space", {"rho": {"type": "float", "low": -0.5, "high": 0.9}}),
         "optimizer": "rmsprop"},
        "#/space/rho/low", ["-0.5", "0 <= value"],
    ),
    "a share above 1": (
        {**changed(TUNE, "space", {"nu": {"type": "float", "low": 0.5, "high": 2}}),
         "optimizer": "qhm"},
        "#/space/nu/high", ["2", "value <= 1"],
    ),
    "a momentum of 1 of another library": (
        {**changed(TUNE, "space", {"beta1": {"type": "float", "low": 0.5, "high": 1.5}}),
         "optimizer": "soap"},
        "#/space/beta1/high", ["1.5", "value < 1"],
    ),
    "a choice twice": (
        changed(TUNE, "space.lr", {"type": "categorical", "choices": [0.1, 1, 1.0]}),
        "#/space/lr/choices/2", ["1 is there already, at index 1", "leave this one out"],
    ),
    "a learning rate twice": (
        {**DISCOVER, "protocol": {"learning_rates": [0.1, 1, 0.1]}},
        "#/protocol/learning_rates/2", ["0.1 is there already, at index 0"],
    ),
    "a baseline twice": (
        {**DISCOVER, "comparison": {"baselines": ["sgd", "adamw", "sgd"]}},
        "#/comparison/baselines/2",
        ["sgd is there already, at index 0", "leave this one out"],
    ),
    "an absurd learning rate": (
        {**DISCOVER, "protocol": {"learning_rates": [1e300]}},
        "#/protocol/learning_rates/0", ["1e+300", "1e+06"],
    ),
    "the largest loss": (
        changed(TUNE, "objective.direction", "maximize"),
        "#/objective/direction", ["maximize validation_loss", "'minimize'"],
    ),
    "the smallest accuracy": (
        {**DISCOVER, "objective": {"metric": "validation_accuracy"}},
        "#/objective/direction", ["minimize validation_accuracy", "'maximize'"],
    ),
    "neither optimizer nor rule": (
        without(TUNE, "optimizer"), "#/optimizer", ["'optimizer'", "'rule'", "adamw"],
    ),
    "optimizer and rule": ({**TUNE, "rule": "g"}, "#/rule", ["exclude", "leave one"]),
    "a rule with a fault": (
        {**RULE, "rule": "g * (m"}, "#/rule", ["line 1, column 5", "    ^"],
    ),
    "a rule with an unknown name": (
        {**RULE, "rule": "g * gradeint"}, "#/rule", ["gradeint", "column 5", "    ^"],
    ),
    "a rule without the gradient": ({**RULE, "rule": "w"}, "#/rule", ["gradient"]),
    "a number as rule": ({**RULE, "rule": 5}, "#/rule", ["text"]),
    "a rule of 5,000 characters": ({**RULE, "rule": "g" * 5000}, "#/rule", ["at most 4096"]),
    "a parameter that the rule does not have": (
        changed(RULE, "space", {"beta9": LR}), "#/space/beta9", ["'beta9'", "lr", "beta"],
    ),
    "an average of the rule's that forgets nothing": (
        changed(RULE, "space", {"beta": {"type": "int", "low": 0, "high": 3}}),
        "#/space/beta/high", ["3", "value < 1"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", JOBS)
@pytest.mark.parametrize("query", ["", "?validate_only=true"])
def test_a_bad_job_is_refused_with_its_field_and_nothing_is_written(
    shared: Live, case: str, query: str
) -> None:
    body, pointer, words = JOBS[case]
    before = shared.dump()
    answer = shared.http.post(
        f"/jobs{query}",
        content=json.dumps(body),
        headers={"Content-Type": "application/json", "Idempotency-Key": f"key-{len(before)}"},
    )
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 422
    assert problem["instance"] == "/api/v1/jobs"
    assert {"type", "title", "detail"} <= problem.keys()
    found = {fault["pointer"]: fault["detail"] for fault in problem["errors"]}
    assert pointer in found, found
    for word in words:
        assert word in found[pointer], found[pointer]
    assert shared.dump() == before


def test_at_most_20_faults_are_listed(shared: Live) -> None:
    body = {**TUNE, **{f"x{i}": i for i in range(100)}}
    answer = shared.http.post("/jobs", json=body)
    assert len(answer.json()["errors"]) == 20
    assert "99 more" in answer.json()["detail"]


JARGON = (
    "Input should",
    "Dictionary",
    "dictionary",
    "pattern",
    "instance",
    "_type",
    "None",
    "True",
)


@pytest.mark.parametrize("case", JOBS)
def test_no_answer_speaks_of_the_validator(shared: Live, case: str) -> None:
    answer = shared.http.post(
        "/jobs", content=json.dumps(JOBS[case][0]), headers={"Content-Type": "application/json"}
    )
    for fault in answer.json()["errors"]:
        assert not any(word in fault["detail"] for word in JARGON), fault


def test_a_fault_of_a_rule_has_its_place_and_a_hint(shared: Live) -> None:
    body = {**RULE, "rule": "m = ema(g, beta)\nsgin(m)"}
    (fault,) = shared.http.post("/jobs", json=body).json()["errors"]
    assert (fault["line"], fault["column"]) == (2, 1)
    assert "'sign'" in fault["hint"]


GOOD: dict[str, dict[str, Any]] = {
    "a learning rate of 0": changed(TUNE, "space.lr", {"type": "float", "low": 0, "high": 1}),
    "an average of nothing": changed(TUNE, "space", {"beta2": {**BETA, "low": 0}}),
    "QHAdam's own share": {
        **changed(TUNE, "space", {"nu2": {"type": "categorical", "choices": [0.7, 1]}}),
        "optimizer": "qhadam",
    },
    "a strong protocol for every stage": {
        **DISCOVER,
        "protocol": {
            "learning_rates": [0.01, 0.1], "grid_steps": None, "steps": 500, "seeds": 5,
            "batch_size": 128, "precision": "bfloat16",
            "pruner": {"name": "successive_halving", "reduction": 2, "min_steps": 20},
        },
        "comparison": {"grid_steps": 50, "seeds": 10, "batch_size": 32, "precision": "tf32"},
    },
    "every level of the funnel": {
        **DISCOVER,
        "comparison": {"tasks": ["wine", "char-lm"], "climb": 0, "long": True, "steps": 100_000},
    },
    "a strong protocol for trials": {
        **TUNE,
        "protocol": {
            "learning_rates": [0.1], "grid_steps": 10, "seeds": 64, "batch_size": 65_536,
            "precision": "tf32",
        },
    },
    "nothing found is compared": {**DISCOVER, "comparison": {"top": 0}},
    "the largest accuracy": {
        **TUNE, "objective": {"metric": "validation_accuracy", "direction": "maximize"},
    },
    "a rule": changed(RULE, "space", {"lr": LR, "weight_decay": LR, "beta": BETA}),
    "a name that the rule uses in its own way": {
        **changed(RULE, "space", {"beta": {"type": "float", "low": 2, "high": 5}}),
        "rule": "beta = 3\nbeta * sign(g)",
    },
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_what_is_unusual_but_sound_is_taken(shared: Live, case: str) -> None:
    answer = shared.http.post("/jobs?validate_only=true", json=GOOD[case])
    assert answer.status_code == 200, answer.text
