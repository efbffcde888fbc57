"""Generated marketplaces: the models of layer 2 and its spec in plain Python agree on every row."""

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
from tests.oracles import layer2_trending
from tests.support import AS_OF, Database, Marketplace, hours_ago

PARAMETERS = st.builds(
    layer2_trending.Parameters,
    trending_days=st.sampled_from([7, 1, 30]),
    top_products=st.sampled_from([10, 1, 2]),
    activity_days=st.sampled_from([90, 2]),
    open_offer_days=st.sampled_from([30, 3]),
    min_open_offers=st.sampled_from([0, 1, 2]),
    require_complete_profile=st.booleans(),
)
STATUSES = st.sampled_from(["OPEN_FOR_TRADE", "OPEN_FOR_TRADE", "OPEN_FOR_TRADE", "REMOVED"])
OFFER_STATUSES = st.sampled_from(["OPEN", "OPEN", "OPEN", "DRAFT", "EXPIRED"])
NAMES = st.sampled_from([*["Ann"] * 20, *TEXTS])
TIED = ("users", "offers", "offer_items", "inventory_items", "attribute_preferences", "products")


@st.composite
def marketplaces(draw: st.DrawFn) -> tuple[Marketplace, layer2_trending.Parameters]:
    market = Marketplace()
    parameters = draw(PARAMETERS)
    a_variant = st.sampled_from(add_variants(draw, market))
    bound = AS_OF - timedelta(days=parameters.activity_days)
    users = []
    for _ in range(draw(st.integers(1, 6))):
        users.append(
            market.user(
                username=draw(USERNAMES),
                first_name=draw(NAMES),
                deleted_at=draw(DELETED),
                last_active=draw(st.none() | near(bound, AS_OF, hours_ago(24), hours_ago(24))),
            )
        )
        add_sizes(draw, market)
    someone = st.sampled_from(users)
    moment = near(
        AS_OF - timedelta(days=parameters.trending_days),
        AS_OF - timedelta(days=parameters.open_offer_days),
        AS_OF,
        hours_ago(12),
        hours_ago(12),
        hours_ago(13),
    )
    for _ in range(draw(st.integers(0, 8))):
        market.closet(draw(someone), draw(a_variant), draw(moment), draw(STATUSES), draw(DELETED))
    for _ in range(draw(st.integers(0, 4))):
        market.wish(draw(someone), draw(a_variant), draw(moment), draw(DELETED))
    for _ in range(draw(st.integers(0, 8))):
        market.offer(
            draw(someone),
            draw(st.lists(a_variant, max_size=2)),
            draw(moment),
            status=draw(OFFER_STATUSES),
            deleted_at=draw(DELETED),
            asks_for=draw(st.lists(a_variant, max_size=2)),
        )
    shuffle(draw, market, *TIED)
    return market, parameters


@marketplaces_settings
@given(case=marketplaces())
def test_any_marketplace_gives_the_files_that_the_spec_says(
    database: Database, tmp_path: Path, case: tuple[Marketplace, layer2_trending.Parameters]
) -> None:
    market, parameters = case
    expected = layer2_trending.audience(market.tables, AS_OF, parameters)
    out = tmp_path / "out"
    assert_as_the_spec_says(database, out, market, "layer2-trending", expected, **vars(parameters))
