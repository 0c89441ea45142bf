import pytest

from service.store.errors import NotFound, StateConflict
from service.store.store import Store


def test_a_token_holds_until_it_is_revoked(store: Store) -> None:
    assert not store.tokens_exist()
    assert store.tokens() == ()
    secret = store.create_token("laptop")
    other = store.create_token("ci.bot-1")
    assert secret != other
    assert secret.startswith("rulesmith_")
    assert store.check_token(secret)
    assert store.check_token(other)
    changed = (secret[:-1], secret + "x", secret.upper())
    for wrong in ("", "x", *changed, "\0", "\ud800", "x" * 100_000):
        assert not store.check_token(wrong)
    store.revoke_token("laptop")
    assert not store.check_token(secret)
    assert store.check_token(other)
    first, second = store.tokens()
    assert (first.name, second.name) == ("laptop", "ci.bot-1")
    assert first.revoked is not None
    assert second.revoked is None
    assert second.used is not None


def test_the_last_token_revoked_does_not_open_the_door(store: Store) -> None:
    store.create_token("a")
    store.revoke_token("a")
    assert store.tokens_exist()


def test_names_are_used_once_at_a_time(store: Store) -> None:
    old = store.create_token("a")
    with pytest.raises(StateConflict, match="choose another name or revoke it first"):
        store.create_token("a")
    assert store.check_token(old)
    store.revoke_token("a")
    with pytest.raises(NotFound):
        store.revoke_token("a")
    new = store.create_token("a")
    assert store.check_token(new)
    assert not store.check_token(old)
    assert len(store.tokens()) == 1


def test_names_are_plain(store: Store) -> None:
    for name in ("", "a b", "<x>", "x" * 65, "a\n", "a\0"):
        with pytest.raises(ValueError, match="allowed: 1 to 64 letters"):
            store.create_token(name)


def test_secrets_are_not_kept(store: Store) -> None:
    secret = store.create_token("a")
    with store._database.read() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM tokens").all()
    assert secret not in str(rows)
    assert secret.removeprefix("rulesmith_")[:20] not in str(rows)
