"""The application: its routes and what they share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from shop.campaigns import Rotation
from shop.catalogue import Catalogue
from shop.crashes import Crashes
from shop.db import connect
from shop.echo import Echo
from shop.health import Health
from shop.identity import Identity
from shop.orders import Orders
from shop.price_list import PriceList
from shop.settings import Settings

POOL_SIZE, POOL_OVERFLOW = 2, 3


def create_app(settings: Settings) -> ASGIApp:
    """Return the shop; it starts without a database and is ready as soon as there is one."""
    name = f"shop {settings.version} {settings.slot}"
    engine = connect(settings.database_url, name=name, size=POOL_SIZE, overflow=POOL_OVERFLOW, statement_seconds=10)
    probes = connect(settings.database_url, name=f"{name} health", size=1, overflow=1, statement_seconds=2)
    rotation = Rotation()
    catalogue, orders, health = Catalogue(engine, rotation), Orders(engine, rotation), Health(settings, probes)
    price_list, echo = PriceList(engine), Echo(settings)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        # As many threads as connections: a request waits in line for a thread instead of timing out on the pool.
        to_thread.current_default_thread_limiter().total_tokens = POOL_SIZE + POOL_OVERFLOW
        yield
        engine.dispose()
        probes.dispose()

    async def home(_request: Request) -> JSONResponse:
        return JSONResponse({"shop": "The Relay Shop", **settings.identity})

    app = Starlette(
        routes=[
            Route("/", home),
            Route("/products", catalogue.list_products),
            Route("/deals", catalogue.list_deals),
            Route("/orders", orders.place, methods=["POST"]),
            Route("/orders/{order_id:int}", orders.show),
            Route("/price-list", price_list.download),
            WebSocketRoute("/echo", echo.talk),
            Route("/health", health.status),
            Route("/health/live", health.live),
            Route("/health/ready", health.ready),
        ],
        exception_handlers={OperationalError: database_unavailable, PoolTimeoutError: database_unavailable},
        lifespan=lifespan,
    )
    return Identity(Crashes(app), settings)


async def database_unavailable(_request: Request, _error: Exception) -> JSONResponse:
    """Answer for a request whose database query could not be made."""
    return JSONResponse({"error": "the database is not available"}, 503)
