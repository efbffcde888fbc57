"""Generated marketplaces: the models of layer 3 and its spec in plain Python agree on every row."""

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
from tests.oracles import layer3_behavior
from tests.support import AS_OF, Database, Marketplace, hours_ago

PARAMETERS = st.builds(
    layer3_behavior.Parameters,
    lookback_hours=st.sampled_from([48, 30.5, 72]),
    cooling_hours=st.sampled_from([12, 0, 6.25]),
    min_inventory_count=st.integers(0, 3),
    min_wishlist_count=st.integers(0, 3),
    require_complete_profile=st.booleans(),
    use_next_best_action=st.booleans(),
)


@st.composite
def marketplaces(draw: st.DrawFn) -> tuple[Marketplace, layer3_behavior.Parameters]:
    market = Marketplace()
    parameters = draw(PARAMETERS)
    variants = add_variants(draw, market)
    users = []
    for _ in range(draw(st.integers(1, 5))):
        users.append(
            market.user(
                username=draw(USERNAMES),
                first_name=draw(st.sampled_from(TEXTS)),
                deleted_at=draw(DELETED),
                last_active=draw(
                    st.sampled_from([None, AS_OF, AS_OF - timedelta(milliseconds=250)])
                ),
            )
        )
        add_sizes(draw, market)
    someone, a_variant = st.sampled_from(users), st.sampled_from(variants)
    start = hours_ago(parameters.lookback_hours - parameters.cooling_hours)
    end = hours_ago(parameters.cooling_hours)
    moment = near(start, end, start + (end - start) / 2, hours_ago(24))
    for _ in range(draw(st.integers(0, 8))):
        status = draw(st.sampled_from(["OPEN_FOR_TRADE", "OPEN_FOR_TRADE", "REMOVED"]))
        market.closet(draw(someone), draw(a_variant), draw(moment), status)
    for _ in range(draw(st.integers(0, 8))):
        market.wish(draw(someone), draw(a_variant), draw(moment), draw(DELETED))
    for _ in range(draw(st.integers(0, 4))):
        shoes = draw(st.lists(a_variant, max_size=3))
        market.offer(draw(someone), shoes, draw(moment), deleted_at=draw(DELETED))
    shuffle(
        draw, market, "offer_items", "attribute_preferences", "inventory_items", "wishlist_items"
    )
    return market, parameters


@marketplaces_settings
@given(case=marketplaces())
def test_any_marketplace_gives_the_files_that_the_spec_says(
    database: Database, tmp_path: Path, case: tuple[Marketplace, layer3_behavior.Parameters]
) -> None:
    market, parameters = case
    expected = layer3_behavior.audience(market.tables, AS_OF, parameters)
    out = tmp_path / "out"
    assert_as_the_spec_says(database, out, market, "layer3-behavior", expected, **vars(parameters))
