"""Every coin and salt of the sessions is bound to the public input it serves and to the secret it hides."""

from collections.abc import Callable

import numpy as np
import pytest
from round_trips import (
    Rounds,
    head_of,
    query_for,
    query_session,
    random_records,
    refresh_session,
    secondary_unit,
    trained,
)
from tenants import SmallTenant, small_tenant

from roles.session import Session, array_bytes

Bound = dict[tuple[str, str, str, str], tuple[bytes, bytes]]


def bindings(small: SmallTenant, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], rows: str) -> Bound:
    """Run a refresh and a query; return (input, secret) by plan, unit, kind and purpose."""
    bound: Bound = {}

    def spying(kind: str, original: Callable[..., object]) -> Callable[..., object]:
        def spy(self: Session, purpose: str, *values: object) -> object:
            # A salt has secrets only, a nonce has choices (secret) and then its public inputs.
            public: object
            hidden: object
            given = [v.tobytes() if isinstance(v, np.ndarray) else v for v in values]
            if kind == "salt":
                public, hidden = b"", given[0]
            elif kind == "nonce":
                public, hidden = (*given, b"")[1], given[0]
            else:
                public, hidden = (*given, b"", b"")[:2]
            assert isinstance(public, bytes)
            assert isinstance(hidden, bytes)
            bound[self.plan.name, self.unit, kind, purpose] = (public, hidden)
            return original(self, purpose, *values)

        return spy

    with monkeypatch.context() as patch:
        for kind in ("coins", "salt", "nonce"):
            patch.setattr(Session, kind, spying(kind, getattr(Session, kind)))
        model = trained(small, sizes)
        unit = secondary_unit(small)
        unit.heads.offer(head_of(small, model))
        table = Rounds(unit).run(*refresh_session(small, model))
        query = query_for(small, random_records(small, 4, rows), rows)
        Rounds(unit, query).run(*query_session(small, model, query, table))
    return bound


REFRESH, QUERY = "naive_bayes.refresh", "naive_bayes.query"

# Which of (public input, secret) each one names; the transcript comes on top of both.
EXPECTED = {
    (REFRESH, "mu", "coins", "mask"): (True, False),
    (REFRESH, "mu", "nonce", "digits"): (True, True),
    (REFRESH, "su", "salt", "garble"): (False, True),
    (QUERY, "mu", "coins", "mask"): (True, False),
    (QUERY, "mu", "nonce", "carries"): (True, True),
    (QUERY, "mu", "salt", "products"): (False, True),
    (QUERY, "mu", "nonce", "bits"): (True, True),
    (QUERY, "mu", "nonce", "labels"): (False, True),
    (QUERY, "mu", "coins", "seal"): (True, True),
    (QUERY, "su", "salt", "carries"): (False, True),
    (QUERY, "su", "nonce", "bits"): (True, True),
    (QUERY, "su", "salt", "products"): (False, True),
    (QUERY, "su", "coins", "label share"): (False, True),
    (QUERY, "su", "salt", "garble"): (False, True),
    (QUERY, "su", "coins", "seal"): (True, True),
}


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


def test_everything_drawn_names_what_it_serves_and_hides(
    small: SmallTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = bindings(small, monkeypatch, (20,), "one")
    assert {place: (bool(public), bool(hidden)) for place, (public, hidden) in found.items()} == EXPECTED


def test_another_input_is_another_secret_for_everything_that_hides_one(
    small: SmallTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bindings(small, monkeypatch, (20,), "one")
    again = bindings(small, monkeypatch, (20,), "one")
    second = bindings(small, monkeypatch, (21,), "two")
    assert first == again
    for place, (_, names_secret) in EXPECTED.items():
        if names_secret:
            assert first[place][1] != second[place][1], place


def test_the_salt_of_products_is_bound_to_bits_and_table_of_the_sender(
    small: SmallTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = bindings(small, monkeypatch, (20,), "one")
    features, classes = small.tenant.schema.onehot_columns, small.tenant.schema.class_count
    bits = np.zeros(4 * features, dtype=np.uint8)
    table = np.zeros((features, classes), dtype=np.uint32)
    for unit in ("mu", "su"):
        _, hidden = found[QUERY, unit, "salt", "products"]
        assert len(hidden) == len(array_bytes(bits, table))
