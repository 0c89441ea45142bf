import base64
import json
import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.resources import Job
from service.store.errors import QueryError
from service.store.query import Query
from service.store.store import Store
from tests.service.store.samples import complete, judged, proposal, running, tune

ORDERS = [
    "",
    "number desc",
    "value",
    "value desc",
    "lr, value desc",
    "parameters.lr desc, value",
    "metrics.validation_loss",
    "finished desc, number desc",
    "state desc, label, created",
]


def walk(store: Store, job_id: str, size: int, **query: str) -> list[int]:
    """Read page after page to the end."""
    numbers: list[int] = []
    token = None
    while True:
        page = store.trials(job_id, Query(page_size=size, page_token=token, **query))
        numbers += [trial.number for trial in page.items]
        token = page.next_page_token
        if token is None:
            return numbers
        assert len(page.items) == size
        assert len(numbers) < 100, "the pages never end"


@pytest.fixture
def job_id(store: Store) -> str:
    """Twenty trials with ties and gaps in every order."""
    draw = random.Random(0)
    job, claim = running(store)
    store.record_asked(
        claim,
        [
            proposal(i, parameters={"lr": draw.choice([0.1, 0.01])}, label=draw.choice(["a", None]))
            for i in range(20)
        ],
    )
    told = [complete(i, draw.choice([0.5, 0.25, -1.0])) for i in range(20) if draw.random() < 0.7]
    store.record_told(claim, told[:7], None)
    store.record_told(claim, told[7:], None)
    return job.id


def test_pages_make_the_whole(store: Store, job_id: str) -> None:
    for order in ORDERS:
        whole = walk(store, job_id, 1000, order_by=order)
        assert sorted(whole) == list(range(20))
        for size in (1, 3, 10):
            assert walk(store, job_id, size, order_by=order) == whole


def test_new_items_neither_repeat_nor_hide_others(store: Store) -> None:
    old = [store.create_job(tune(str(i)))[0].id for i in range(6)]
    seen: list[Job] = []
    token = None
    while True:
        page = store.jobs(Query(page_size=2, page_token=token))
        seen += page.items
        store.create_job(tune("new"))
        token = page.next_page_token
        if token is None:
            break
    assert [job.id for job in seen] == old[::-1]


def test_the_total_counts_every_page(store: Store, job_id: str) -> None:
    page = store.trials(job_id, Query(page_size=3))
    assert (len(page.items), page.total) == (3, 20)
    last = store.trials(job_id, Query(page_size=3, page_token=page.next_page_token))
    assert last.total >= 17


WRONG_ORDERS = [
    ("x", "there is no field 'x'; allowed: number, state"),
    ("value down", "'value down' is not understood"),
    ("value desc desc", "is not understood"),
    ("value,", "'' is not understood"),
    ("value, value desc", "'value' stands there twice"),
    (",".join(f"parameters.p{i}" for i in range(9)), "more than 8 fields"),
]


def test_orders_that_are_not_understood(store: Store, job_id: str) -> None:
    for order, message in WRONG_ORDERS:
        with pytest.raises(QueryError, match=message) as caught:
            store.trials(job_id, Query(order_by=order))
        assert caught.value.parameter == "order_by"


def test_a_token_belongs_to_its_list(store: Store, job_id: str) -> None:
    token = store.trials(job_id, Query(page_size=3)).next_page_token
    _, claim = running(store)
    judged(store, claim, [0.1] * 5)
    for query in (
        Query(page_token=token, order_by="value"),
        Query(page_token=token, filter="number > 1"),
    ):
        with pytest.raises(QueryError, match="page_token: is not one that this list gave"):
            store.trials(job_id, query)
    with pytest.raises(QueryError):
        store.trials(claim.job_id, Query(page_token=token))
    with pytest.raises(QueryError):
        store.jobs(Query(page_token=token))


@example([2**31, 0.5, 0])
@example([0, 0.5, 2**63 - 1])
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    values=st.lists(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.lists(st.integers(), max_size=1),
        max_size=4,
    )
)
def test_forged_tokens_are_refused_or_harmless(
    store: Store, job_id: str, values: list[object]
) -> None:
    real = store.trials(job_id, Query(page_size=3, order_by="value")).next_page_token
    assert real is not None
    digest = json.loads(base64.urlsafe_b64decode(real + "=" * (-len(real) % 4)))[0]
    forged = base64.urlsafe_b64encode(json.dumps([digest, *values]).encode()).decode()
    try:
        page = store.trials(job_id, Query(page_token=forged.rstrip("="), order_by="value"))
    except QueryError:
        return
    assert page.total <= 20


def test_nonsense_tokens_are_refused(store: Store, job_id: str) -> None:
    for token in ("x", "====", "a b", "ä", "\0", "W10", "bnVsbA", "W" * 5000):
        with pytest.raises(QueryError, match="page_token"):
            store.trials(job_id, Query(page_token=token))
