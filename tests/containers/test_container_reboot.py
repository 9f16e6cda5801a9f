"""Which slot comes back when its host does, on an engine that is really ended and started again."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import image
from tests.containers.host import Host
from tests.containers.own_engine import OwnEngine

ANSWERS_SECONDS = 30.0


@pytest.fixture
def engine(images: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnEngine]:
    """An engine of its own, whose socket has a short path."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None or shutil.which("ip") is None or not images:
        pytest.skip("only root can start an engine of its own, with dockerd and ip")
    with tempfile.TemporaryDirectory(prefix="baton-engine-") as directory:
        own = OwnEngine(Path(directory))
        monkeypatch.setenv("DOCKER_HOST", own.host)
        with own:
            yield own


def test_the_proven_slot_comes_back_after_a_reboot_and_the_other_one_does_not(
    engine: OwnEngine, tmp_path: Path
) -> None:
    image.base("shop:v1")
    host = Host(tmp_path, "shop", "shop")
    more = {"docker_image": "shop:{version}"}
    host.serve("blue", "v1", **more)
    host.slot("verified", "blue", "v1")
    image.build("shop:v2", "shop:v1")
    # One that does not end with exit code 0 when the host goes down.
    host.serve("green", "v2", environment={"MOOD": "stubborn"}, stop_timeout=1)
    engine.reboot()
    deadline = time.monotonic() + ANSWERS_SECONDS
    while host.seen("blue")["state"] != "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert host.seen("blue")["current"]
    assert host.seen("green")["state"] == "absent"
    assert host.container("green")["State"]["ExitCode"] != 0
    assert host.container("green")["RestartCount"] == 0
    host.leave()
