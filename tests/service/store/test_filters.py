import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.store.errors import QueryError
from service.store.query import Query
from service.store.store import Store
from tests.service.store.samples import judged, running

WRONG = [
    ("x = 1", "there is no field 'x'; allowed: number, state,"),
    ("parameters = 1", "there is no field 'parameters'"),
    ("parameters.a-b = 1", "there is no field 'parameters.a-b'"),
    ("parameters.a.b = 1", "there is no field 'parameters.a.b'"),
    ("state = DONE", "state is never 'DONE'; allowed: QUEUED, RUNNING, COMPLETE"),
    ("number = 1.5", "number = '1.5': the value must be an integer"),
    ("number < 99999999999999999999", "the value must be an integer"),
    ("value < many", "value < 'many': the value must be a number"),
    ("value < nan", "the value must be a number"),
    ("value < 1e999", "the value must be a number"),
    ("created > yesterday", "the value must be a moment such as"),
    ('created > "0001-01-01T00:00:00+05:00"', "the value must be a moment such as"),
    ("value : 1", "`:` goes with texts only"),
    ("value < null", "null goes with = and != only"),
    ("value", "ends where one of = != < <= > >= : should stand"),
    ("value <", "ends where a value should stand"),
    ("value < < 1", "'<' at character 9: a value should stand"),
    ("value < 1 number = 2", "'number' at character 11: AND, OR or the end should stand"),
    ("(value < 1", r"ends where '\)' should stand"),
    ("value < 1)", r"'\)' at character 10: AND, OR or the end"),
    ("AND", "ends where one of|there is no field 'AND'"),
    ("value < 1 AND", "ends where a field's name should stand"),
    ("= 1", "'=' at character 1: a field's name should stand"),
    ('label = "open', "is not understood; texts with spaces or signs stand in quotes"),
    ("label = a;b", "';b' at character 10 is not understood"),
    ("(" * 20 + "value < 1" + ")" * 20, "is nested deeper than 16"),
    ("NOT NOT value < 1", "there is no field|should stand"),
]


@pytest.fixture
def job_id(store: Store) -> str:
    job, claim = running(store)
    judged(store, claim, [0.4, 0.1, 0.3, 0.2])
    return job.id


def test_errors_say_what_and_where(store: Store, job_id: str) -> None:
    for text, message in WRONG:
        with pytest.raises(QueryError, match=message) as caught:
            store.trials(job_id, Query(filter=text))
        assert caught.value.parameter == "filter"


RIGHT = [
    ("number = 1", [1]),
    ("number=1", [1]),
    ("number != 1", [0, 2, 3]),
    ("value < 0.25", [1, 3]),
    ("value <= 2e-1 AND number > 1", [3]),
    ("number = 0 OR number = 3", [0, 3]),
    # OR binds tighter than AND: (0 or 3) and value > 0.3.
    ("number = 0 OR number = 3 AND value > 0.3", [0]),
    ("value > 0.3 AND number = 0 OR number = 3", [0]),
    ("(value > 0.3 AND number = 0) OR number = 3", [0, 3]),
    ("NOT number = 1", [0, 2, 3]),
    ("NOT (number = 1 OR number = 2)", [0, 3]),
    ('state = "COMPLETE"', [0, 1, 2, 3]),
    ("state = 'COMPLETE' AND stage = search", [0, 1, 2, 3]),
    ('label = "it\\"s"', []),
    ('label : "%"', []),
    ('created > "2020-01-01T00:00:00Z"', [0, 1, 2, 3]),
    ('created < "2020-01-01"', []),
    ("attempt < 9000000000000000000", [0, 1, 2, 3]),
    ("  number   =   2  ", [2]),
    ("   ", [0, 1, 2, 3]),
]


def test_what_filters_say(store: Store, job_id: str) -> None:
    for text, expected in RIGHT:
        page = store.trials(job_id, Query(filter=text))
        assert [trial.number for trial in page.items] == expected, text
        assert page.total == len(expected)


WORDS = st.sampled_from(
    [
        *("number", "value", "state", "label", "created", "parameters.lr", "metrics.x", "reason"),
        *("=", "!=", "<", "<=", ">", ">=", ":", "AND", "OR", "NOT", "(", ")", "null"),
        *("1", "-1", "1e300", "COMPLETE", '"a b"', "'%_'", '"2026-01-01"', "9" * 30, "λ", "'"),
    ]
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=st.lists(WORDS, max_size=9).map(" ".join) | st.text(max_size=40))
def test_any_text_is_understood_or_refused(store: Store, job_id: str, text: str) -> None:
    try:
        page = store.trials(job_id, Query(filter=text, order_by="value desc"))
    except QueryError:
        return
    assert page.total <= 4
