"""A docker engine on this machine, and an app whose images exist nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

from tests.containers import image
from tests.containers.host import Host
from tests.fleet import engine
from tests.fleet.docker import attempt


@pytest.fixture(scope="session")
def images() -> Iterator[str]:
    """The repository of the app's images, with v1 and v2 in it."""
    try:
        engine.ensure(print)
    except BatonError as error:
        pytest.skip(f"there can be no engine here: {error}")
    name = f"baton-test/shop-{os.getpid()}"
    made = [f"{name}:{tag}" for tag in ("base", "v1", "v2")]
    try:
        image.base(made[0])
        for one in made[1:]:
            image.build(one, made[0])
        yield name
    finally:
        for one in reversed(made):
            attempt("image", "rm", "--force", one)


@pytest.fixture
def host(images: str, tmp_path: Path) -> Iterator[Host]:
    """A host with nothing on it."""
    one = Host(tmp_path, f"baton-slot-{os.getpid()}", images)  # not as the hosts of a fleet are called
    yield one
    one.leave()
