from conftest import Shop, migrate, running
from sqlalchemy import create_engine, insert, text, update

from shop.db import products
from shop.settings import Settings


def test_deals_say_what_they_cost_today(shop: Shop) -> None:
    deals = shop.get("/deals").body["deals"]
    assert deals[0] == {
        "id": 2,
        "name": "Running shoes",
        "price_cents": 11990,
        "percent_off": 10,
        "deal_price_cents": 10791,
    }
    assert [deal["id"] for deal in deals] == [2, 4]


def test_products_show_their_rating(settings: Settings) -> None:
    migrate(settings, "head")
    engine = create_engine(settings.database_url)
    with engine.begin() as connection:
        connection.execute(update(products).where(products.c.id == 1).values(rating=4.5))
    engine.dispose()
    with running(settings) as shop:
        listed = shop.get("/products").body["products"]
    assert [product["rating"] for product in listed[:2]] == [4.5, None]


def test_the_schema_of_the_version_before_is_too_old(settings: Settings) -> None:
    migrate(settings, "0001")
    with running(settings) as shop:
        ready = shop.get("/health/ready")
        assert ready.status == 503
        assert ready.body["checks"][1]["detail"] == "is at 0001, this version needs 0002"
        migrate(settings, "head")
        assert shop.get("/health/ready").status == 200


def test_what_the_version_before_writes_still_fits(settings: Settings) -> None:
    migrate(settings, "head")
    engine = create_engine(settings.database_url)
    with engine.begin() as connection:
        connection.execute(insert(products), {"name": "Whistle", "price_cents": 490})
        connection.execute(
            text("INSERT INTO orders (product_id, quantity, total_cents, placed_at) VALUES (6, 1, 490, '2026-01-05')")
        )
    engine.dispose()
    with running(settings) as shop:
        assert shop.get("/orders/1").status == 200
