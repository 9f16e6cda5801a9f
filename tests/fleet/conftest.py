"""One fleet for all tests, provisioned from ``inventories/prod``; here alone is decided where there can be none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import artifacts
from tests.fleet import engine, lifecycle
from tests.fleet.hosts import Fleet
from tests.fleet.prod import Prod
from tests.fleet.shape import Shape

__all__ = ["artifacts", "fleet", "prod", "shop"]


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three app hosts, two load balancers and a database; they are gone afterwards, as is an engine that was started for them."""
    if reason := engine.unavailable():
        pytest.skip(reason)
    ran_before = engine.answers()
    name, root = f"baton-test-{os.getpid()}", tmp_path_factory.mktemp("fleet") / "fleet"
    try:
        yield lifecycle.up(Shape(), name=name, root=root)
    finally:
        lifecycle.down(name=name, root=root)
        if not ran_before:
            engine.stop()


@pytest.fixture(scope="session")
def prod(fleet: Fleet, artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Prod:
    """The fleet with everything that ``provision.yml`` does, and v1.0.0 released."""
    shop = Prod(fleet, tmp_path_factory.mktemp("prod"), artifacts)
    shop.must("provision")
    shop.must("release", release_version="v1.0.0")
    return shop


@pytest.fixture
def shop(prod: Prod) -> Prod:
    """The same fleet, in which tests leave some version live."""
    return prod
