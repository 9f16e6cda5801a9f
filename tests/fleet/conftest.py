"""One fleet for all tests, provisioned from ``inventories/prod``; ``BATON_TEST_APP_HOSTS=6`` gives it more app hosts than that has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import tasks
from tests.chaos.scene import Scene
from tests.e2e.conftest import artifacts
from tests.fleet.hosts import Fleet
from tests.fleet.of_tests import a_fleet
from tests.fleet.prod import Prod, Sized
from tests.fleet.shape import Shape
from tests.fleet.strikes import scene_of

__all__ = ["artifacts", "fleet", "prod", "scene", "shop", "tasks"]

APP_HOSTS = int(os.environ.get("BATON_TEST_APP_HOSTS", "3"))


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three app hosts, two load balancers and a database."""
    with a_fleet(Shape(app=APP_HOSTS), tmp_path_factory.mktemp("prod")) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def prod(fleet: Fleet, artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Prod:
    """The fleet with everything that ``provision.yml`` does, and v1.0.0 released."""
    shop = (Prod if Shape().app == APP_HOSTS else Sized)(fleet, tmp_path_factory.mktemp("shop"), artifacts)
    shop.must("provision")
    shop.must("release", release_version="v1.0.0")
    return shop


@pytest.fixture
def shop(prod: Prod) -> Prod:
    """The same fleet, in which tests leave some version live."""
    return prod


@pytest.fixture(scope="package")
def scene(prod: Prod) -> Scene:
    """The same fleet, on which the controller dies."""
    return scene_of(prod)
