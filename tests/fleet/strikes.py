"""A fleet as the environment that strikes are made on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.scene import Scene
from tests.fleet import engine, lifecycle
from tests.fleet.machines import Machines
from tests.fleet.prod import Prod
from tests.fleet.shape import Shape

__all__ = ["on_a_fleet", "scene_of"]


def scene_of(prod: Prod) -> Scene:
    """Return the scene on a fleet that has been released to."""
    return Scene(prod, Machines(prod.fleet))


@contextmanager
def on_a_fleet(root: Path, artifacts: Path) -> Iterator[Scene]:
    """Have a fleet with prod on it, in ``root``, as long as it is needed; nothing of it is left where all went well.

    Raises:
        BatonError: there can be none here.
    """
    engine.ensure(print)
    name = f"baton-chaos-{os.getpid()}-{root.name}"
    try:
        fleet = lifecycle.up(Shape(), name=name, root=root / "fleet")
        prod = Prod(fleet, root / "shop", artifacts)
        prod.must("provision")
        prod.must("release", release_version="v1.0.0")
        yield scene_of(prod)
    finally:
        lifecycle.down(name=name, root=root / "fleet")
    shutil.rmtree(root)
