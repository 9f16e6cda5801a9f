"""What is for sale."""

from sqlalchemy import Engine, select
from starlette.requests import Request
from starlette.responses import JSONResponse

from shop.db import products


class Catalogue:
    """The endpoints of the catalogue."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_products(self, _request: Request) -> JSONResponse:
        """Return all products."""
        query = select(products.c.id, products.c.name, products.c.price_cents).order_by(products.c.id)
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return JSONResponse({"products": [dict(row) for row in rows]})
