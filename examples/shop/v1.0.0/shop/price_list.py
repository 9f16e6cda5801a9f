"""The price list: a download that may take its time."""

import csv
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from io import StringIO

import anyio
from sqlalchemy import Engine, RowMapping, select
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from shop.db import products
from shop.orders import HIGHEST_QUANTITY

# Well below the default of SHUTDOWN_TIMEOUT: a download that has begun ends before the shop does.
LONGEST_SECONDS = 20
PIECE_SECONDS = 0.1


class PriceList:
    """The endpoint of the price list."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def download(self, request: Request) -> Response:
        """Return what every quantity of every product costs, spread over the ``seconds`` that were asked for."""
        text = request.query_params.get("seconds", "0")
        if not (text.isascii() and text.isdigit() and len(text) < 3 and int(text) <= LONGEST_SECONDS):
            return JSONResponse({"error": f"seconds must be a whole number from 0 to {LONGEST_SECONDS}"}, 422)
        query = select(products.c.id, products.c.name, products.c.price_cents).order_by(products.c.id)
        # The connection is given back before the first piece is sent: slow readers must not empty the pool.
        with self._engine.connect() as connection:
            content = _as_csv(connection.execute(query).mappings().all())
        digest = b64encode(sha256(content).digest()).decode()
        # Without a length, balancers pass on each piece as it comes.
        return StreamingResponse(
            _spread(content, int(text)), media_type="text/csv", headers={"Content-Digest": f"sha-256=:{digest}:"}
        )


def _as_csv(rows: Sequence[RowMapping]) -> bytes:
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(["product_id", "name", "quantity", "total_cents"])
    for row in rows:
        for quantity in range(1, HIGHEST_QUANTITY + 1):
            writer.writerow([row["id"], row["name"], quantity, row["price_cents"] * quantity])
    return text.getvalue().encode()


async def _spread(content: bytes, seconds: int) -> AsyncIterator[bytes]:
    pieces = max(1, round(seconds / PIECE_SECONDS))
    size = -(-len(content) // pieces)
    for start in range(0, len(content), size):
        yield content[start : start + size]
        if seconds:
            await anyio.sleep(PIECE_SECONDS)
