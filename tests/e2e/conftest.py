"""One embedded environment for all tests of a worker, with the shop's three versions built."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.files import locked

from tests.e2e.environment import ROOT, Environment

BUILT_FROM = (
    "examples/shop",
    "playbooks/build.yml",
    "plugins",
    "requirements.txt",
    "roles/build",
    "tests/e2e/conftest.py",
)


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Return the directory with the builds of the shop: made once from what the repository holds now, by whoever comes first."""
    if os.environ.get("BATON_TEST_ARTIFACTS"):
        return Path(os.environ["BATON_TEST_ARTIFACTS"])
    home = ROOT / ".cache" / "builds" / f"{sys.version_info[0]}.{sys.version_info[1]}"
    mark, wanted = home / "built-from", digest(BUILT_FROM)
    with locked(home.with_name(f"{home.name}.lock")):
        if not mark.exists() or mark.read_text() != wanted:
            shutil.rmtree(home, ignore_errors=True)
            build(home)
            mark.write_text(wanted)
    return home / "artifacts"


def digest(names: Sequence[str]) -> str:
    """Return a digest of the files and directories of the repository that have these names, and of this Python."""
    found = hashlib.sha256(sys.version.encode())
    for name in names:
        files = (ROOT / name).rglob("*") if (ROOT / name).is_dir() else [ROOT / name]
        for path in sorted(one for one in files if one.is_file() and "__pycache__" not in one.parts):
            found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()


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
