import pytest
from conftest import migrate, running

from shop.campaigns import CAMPAIGNS, Campaign, Rotation
from shop.settings import Settings


@pytest.mark.parametrize(("one_cent_in", "price"), [(20, 950), (10, 900), (4, 750), (1, 0), (0, 1000)])
def test_a_campaign_reduces_the_price(one_cent_in: int, price: int) -> None:
    assert Campaign("any", one_cent_in).reduced(1000) == price


def test_campaigns_take_turns() -> None:
    rotation = Rotation()
    assert [rotation.next().name for _ in range(2)] == ["welcome", "summer"]


def test_every_campaign_has_a_price() -> None:
    rotation = Rotation()
    turn = [rotation.next() for _ in CAMPAIGNS]
    assert {campaign.name for campaign in turn} == {campaign.name for campaign in CAMPAIGNS}
    assert all(0 < campaign.reduced(1000) <= 1000 for campaign in turn)


def test_products_and_orders_are_reduced(settings: Settings) -> None:
    migrate(settings, "head")
    with running(settings) as shop:
        products = shop.get("/products").body
        assert (products["campaign"], products["products"][0]["price_cents"]) == ("welcome", 1416)
        assert shop.order({"product_id": 1, "quantity": 2}).body["total_cents"] == 2 * 1341
