"""Taking orders."""

from datetime import UTC, datetime
from json import JSONDecodeError

from sqlalchemy import Engine, insert, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from shop.db import orders, products

HIGHEST_QUANTITY = 100
HIGHEST_ID = 2**31 - 1


class OrderRefusedError(ValueError):
    """An order that cannot be taken, and why."""


class Orders:
    """The endpoints of orders."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def place(self, request: Request) -> JSONResponse:
        """Take an order."""
        try:
            product_id, quantity = _read_order(await request.json())
            order = await run_in_threadpool(self._write, product_id, quantity)
        except (JSONDecodeError, UnicodeDecodeError):
            return JSONResponse({"error": "the body is not JSON"}, 422)
        except OrderRefusedError as error:
            return JSONResponse({"error": str(error)}, 422)
        return JSONResponse(order, 201)

    def show(self, request: Request) -> JSONResponse:
        """Return one order."""
        order_id = request.path_params["order_id"]
        with self._engine.connect() as connection:
            row = connection.execute(select(orders).where(orders.c.id == min(order_id, HIGHEST_ID))).mappings().first()
        if row is None:
            return JSONResponse({"error": f"there is no order {order_id}"}, 404)
        return JSONResponse({**row, "placed_at": row["placed_at"].isoformat()})

    def _write(self, product_id: int, quantity: int) -> dict[str, object]:
        with self._engine.begin() as connection:
            price = connection.scalar(select(products.c.price_cents).where(products.c.id == product_id))
            if price is None:
                raise OrderRefusedError(f"there is no product {product_id}")
            placed_at = datetime.now(UTC)
            order = {
                "product_id": product_id,
                "quantity": quantity,
                "total_cents": price * quantity,
                "placed_at": placed_at,
            }
            order_id = connection.execute(insert(orders).returning(orders.c.id), order).scalar_one()
        return {"id": order_id, **order, "placed_at": placed_at.isoformat()}


def _read_order(body: object) -> tuple[int, int]:
    if not isinstance(body, dict):
        raise OrderRefusedError("the body is not a JSON object")
    return _whole_number(body, "product_id", HIGHEST_ID), _whole_number(body, "quantity", HIGHEST_QUANTITY)


def _whole_number(body: dict[str, object], name: str, highest: int) -> int:
    value = body.get(name)
    # JSON's true is an int in Python.
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= highest:
        raise OrderRefusedError(f"{name} must be a whole number from 1 to {highest}")
    return value
