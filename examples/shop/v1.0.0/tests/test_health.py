from dataclasses import replace
from datetime import datetime

from conftest import Shop, migrate, running
from sqlalchemy import create_engine, text

from shop import __version__
from shop.schema import NEEDED_REVISION
from shop.settings import Settings

IDENTITY = {"version": __version__, "instance": "app1", "slot": "green"}


def test_a_healthy_shop(shop: Shop) -> None:
    live, ready, health = shop.get("/health/live"), shop.get("/health/ready"), shop.get("/health")
    assert (live.status, live.body) == (200, {"status": "alive", **IDENTITY})
    assert (ready.status, ready.body["ready"]) == (200, True)
    assert ready.body.items() >= IDENTITY.items()
    assert (health.status, health.body["status"]) == (200, "healthy")
    assert health.body.items() >= IDENTITY.items()
    assert datetime.fromisoformat(health.body["timestamp"]).tzinfo
    assert {check["name"]: check["ready"] for check in health.body["checks"]} == {"database": True, "schema": True}


def test_without_a_database_it_lives_and_is_not_ready(settings: Settings) -> None:
    unreachable = settings.database_url.set(database="/nonexistent/shop.db")
    with running(replace(settings, database_url=unreachable)) as shop:
        assert shop.get("/health/live").status == 200
        ready, health = shop.get("/health/ready"), shop.get("/health")
        assert (ready.status, ready.body["ready"]) == (503, False)
        assert (health.status, health.body["status"]) == (503, "unhealthy")
        assert health.body["checks"] == [
            {"name": "database", "ready": False, "detail": "cannot be used (OperationalError)"}
        ]
        products = shop.get("/products")
        assert (products.status, products.headers["x-slot"]) == (503, "green")


def test_without_a_schema_it_is_not_ready(settings: Settings) -> None:
    with running(settings) as shop:
        ready = shop.get("/health/ready")
        assert ready.status == 503
        assert ready.body["checks"][1]["detail"] == f"is at no revision, this version needs {NEEDED_REVISION}"


def test_it_follows_the_schema_while_it_runs(settings: Settings) -> None:
    with running(settings) as shop:
        assert shop.get("/health/ready").status == 503
        migrate(settings, "head")
        assert shop.get("/health/ready").status == 200
        migrate(settings, "base")
        assert shop.get("/health/ready").status == 503


def test_a_schema_that_is_ahead_will_do(settings: Settings) -> None:
    migrate(settings, "head")
    engine = create_engine(settings.database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0099'"))
    engine.dispose()
    with running(settings) as shop:
        assert shop.get("/health/ready").status == 200
