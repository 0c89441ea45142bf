from service.store.store import Store


def test_no_jobs(store: Store) -> None:
    assert store.jobs().items == ()
    assert store.jobs().total == 0
