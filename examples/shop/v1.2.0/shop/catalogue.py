"""What is for sale."""

from sqlalchemy import Engine, select
from starlette.requests import Request
from starlette.responses import JSONResponse

from shop.campaigns import Rotation
from shop.db import deals, products


class Catalogue:
    """The endpoints of the catalogue."""

    def __init__(self, engine: Engine, rotation: Rotation) -> None:
        self._engine = engine
        self._rotation = rotation

    def list_products(self, _request: Request) -> JSONResponse:
        """Return all products at today's prices; a product that nobody has rated yet has the rating null."""
        campaign = self._rotation.next()
        query = select(products.c.id, products.c.name, products.c.price_cents, products.c.rating)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(products.c.id)).mappings().all()
        listed = [{**row, "price_cents": campaign.reduced(row["price_cents"])} for row in rows]
        return JSONResponse({"campaign": campaign.name, "products": listed})

    def list_deals(self, _request: Request) -> JSONResponse:
        """Return the products that cost less today."""
        query = select(products.c.id, products.c.name, products.c.price_cents, deals.c.percent_off).join(deals)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(products.c.id)).mappings().all()
        return JSONResponse({"deals": [{**row, "deal_price_cents": _deal_price(**row)} for row in rows]})


def _deal_price(*, price_cents: int, percent_off: int, **_others: object) -> int:
    return price_cents - price_cents * percent_off // 100
