import pytest

from service.store.errors import QueryError
from service.store.query import Query


@pytest.mark.parametrize("size", [0, -1, 1001, 10**30])
def test_page_size_has_bounds(size: int) -> None:
    with pytest.raises(QueryError, match=f"^page_size: {size} is not allowed") as caught:
        Query(page_size=size)
    assert caught.value.parameter == "page_size"


@pytest.mark.parametrize("name", ["filter", "order_by"])
@pytest.mark.parametrize("text", ["x" * 1001, "a\0", "a\nb", "\ud800"])
def test_texts_have_bounds(name: str, text: str) -> None:
    with pytest.raises(QueryError, match=f"^{name}: ") as caught:
        Query(**{name: text})  # type: ignore[arg-type]
    assert caught.value.parameter == name


def test_defaults() -> None:
    query = Query()
    assert (query.page_size, query.page_token, query.filter, query.order_by) == (50, None, "", "")
