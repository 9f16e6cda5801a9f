"""One embedded environment for all tests of a worker, with the shop's three versions built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.files import locked

from tests.e2e.environment import ROOT, Environment


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory with the builds of the shop: made once, by the worker that comes first."""
    if os.environ.get("BATON_TEST_ARTIFACTS"):
        return Path(os.environ["BATON_TEST_ARTIFACTS"])
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "builds"
    with locked(root.with_suffix(".lock")):
        if not root.exists():
            build(root)
    return root / "artifacts"


def build(root: Path) -> None:
    """Build the shop's three versions under ``root``."""
    environment = Environment(root)
    make = [sys.executable, "examples/shop/make_repository.py", str(root / "shop-repository")]
    subprocess.run(make, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    for version in ("v1.0.0", "v1.1.0", "v1.2.0"):
        environment.must("build", release_version=version, ansible_connection="severable")


def started(root: Path, artifacts: Path) -> Environment:
    """Start an environment of its own that has the builds."""
    environment = Environment(root)
    (root / "artifacts").mkdir()
    for artifact in artifacts.iterdir():
        shutil.copy(artifact, root / "artifacts")
    environment.must("embedded_up")
    return environment


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory, artifacts: Path) -> Iterator[Environment]:
    """The environment that the tests share, with v1.0.0 released; they leave it whole, whatever version is live then."""
    environment = started(tmp_path_factory.mktemp("fleet"), artifacts)
    try:
        environment.must("release", release_version="v1.0.0")
        yield environment
    finally:
        environment.must("embedded_down")


@pytest.fixture
def shop(fleet: Environment) -> Iterator[Environment]:
    """The shared environment; every connection is mended after the test."""
    yield fleet
    fleet.mend()


@pytest.fixture
def fresh(tmp_path: Path, artifacts: Path) -> Iterator[Environment]:
    """An environment in which nothing was ever released."""
    environment = started(tmp_path, artifacts)
    try:
        yield environment
    finally:
        environment.must("embedded_down")
