"""The collection as a tarball, installed where no clone is near, and one embedded environment for all that uses it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import artifacts
from tests.e2e.environment import ROOT
from tests.install.installed import BIN, Installed, install

__all__ = ["artifacts"]


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what ``ansible-galaxy collection build`` makes of the clone."""
    output = tmp_path_factory.mktemp("tarball")
    subprocess.run(
        [str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(output)], cwd=ROOT, check=True
    )
    (made,) = output.glob("baton-release-*.tar.gz")
    return made


@pytest.fixture(scope="session")
def collections(tmp_path_factory: pytest.TempPathFactory, tarball: Path) -> Path:
    """Return a directory of collections that holds the tarball's, and nothing else."""
    path = tmp_path_factory.mktemp("collections")
    install(tarball, path)
    return path


@pytest.fixture(scope="package")
def user(tmp_path_factory: pytest.TempPathFactory, collections: Path, artifacts: Path) -> Iterator[Installed]:
    """Return a user whose environment serves v1.0.0, released by the installed collection."""
    user = Installed(tmp_path_factory.mktemp("user"), collections)
    (user.root / "artifacts").mkdir()
    for artifact in artifacts.iterdir():
        shutil.copy(artifact, user.root / "artifacts")
    user.must("embedded_up")
    try:
        user.must("release", release_version="v1.0.0")
        yield user
    finally:
        user.must("embedded_down")
        assert not user.pids()
