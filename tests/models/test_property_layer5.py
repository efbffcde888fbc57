"""Generated marketplaces: the models of layer 5 and its spec in plain Python agree on every row."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.models.marketplaces import (
    DELETED,
    TEXTS,
    USERNAMES,
    add_sizes,
    add_variants,
    assert_as_the_spec_says,
    marketplaces_settings,
    near,
    shuffle,
)
from tests.oracles import layer5_new_users
from tests.support import AS_OF, Database, Marketplace, hours_ago

PARAMETERS = st.builds(
    layer5_new_users.Parameters,
    min_age_hours=st.sampled_from([12, 0, 36.5]),
    max_age_days=st.sampled_from([14, 30.5, 3]),
    require_first_name=st.booleans(),
)
BIOS = st.sampled_from([*["A bio"] * 20, *TEXTS])
STATUSES = st.sampled_from(["OPEN_FOR_TRADE", "REMOVED", "DRAFT", "HAS_NEW_OWNER"])
OFFER_STATUSES = st.sampled_from(["OPEN", "DRAFT", "RESCINDED"])
MOMENT = near(hours_ago(24), hours_ago(48), AS_OF)
TIED = ("users", "offers", "offer_items", "wishlist_items", "desired_items")


@st.composite
def marketplaces(draw: st.DrawFn) -> tuple[Marketplace, layer5_new_users.Parameters]:
    market = Marketplace()
    parameters = draw(PARAMETERS)
    a_variant = st.sampled_from(add_variants(draw, market))
    oldest = AS_OF - timedelta(days=parameters.max_age_days)
    youngest = hours_ago(parameters.min_age_hours)
    created = near(oldest, youngest, hours_ago(48), hours_ago(48), hours_ago(49))
    users = []
    for _ in range(draw(st.integers(1, 6))):
        users.append(
            market.user(
                username=draw(USERNAMES),
                first_name=draw(st.sampled_from(TEXTS)),
                bio=draw(BIOS),
                created_at=draw(created),
                deleted_at=draw(DELETED),
            )
        )
        add_sizes(draw, market)
        if draw(st.sampled_from([True, True, True, False])):
            market.closet(users[-1], draw(a_variant), draw(MOMENT), draw(STATUSES), draw(DELETED))
    someone = st.sampled_from(users)
    for _ in range(draw(st.integers(0, 3))):
        market.closet(draw(someone), draw(a_variant), draw(MOMENT), draw(STATUSES), draw(DELETED))
    for _ in range(draw(st.integers(0, 8))):
        market.wish(draw(someone), draw(a_variant), draw(MOMENT), draw(DELETED))
    for _ in range(draw(st.integers(0, 8))):
        market.offer(
            draw(someone),
            draw(st.lists(a_variant, max_size=2)),
            draw(MOMENT),
            status=draw(OFFER_STATUSES),
            deleted_at=draw(DELETED),
            asks_for=draw(st.lists(a_variant, max_size=2)),
            receiver=draw(st.none() | someone),
        )
    for _ in range(draw(st.integers(0, 6))):
        count = draw(st.integers(0, 2))
        market.desire(draw(someone), draw(a_variant), draw(MOMENT), count, draw(DELETED))
    shuffle(draw, market, *TIED)
    return market, parameters


@marketplaces_settings
@given(case=marketplaces())
def test_any_marketplace_gives_the_files_that_the_spec_says(
    database: Database, tmp_path: Path, case: tuple[Marketplace, layer5_new_users.Parameters]
) -> None:
    market, parameters = case
    expected = layer5_new_users.audience(market.tables, AS_OF, parameters)
    out = tmp_path / "out"
    assert_as_the_spec_says(database, out, market, "layer5-new-users", expected, **vars(parameters))
