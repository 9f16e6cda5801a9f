"""Which slot comes back when its host does, and which singleton, on an engine that is really ended and started again."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils._docker import Engine

from tests.containers import image
from tests.containers.host import PATIENCE_SECONDS, Host
from tests.containers.own_engine import OwnEngine
from tests.fleet.docker import inspect

MAILER = {"mailer": {"command": ["python3", "-c", "import time; time.sleep(3600)"], "stop_seconds": 1}}


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


def worker(host: Host) -> tuple[str, int]:
    """Return state and pid of the one worker of the host, and see that it is blue's."""
    (one,) = host.slot("gathered")["singletons"]
    assert one["slot"] == "blue"
    return one["state"], one["pid"] or 0


def comes_back(host: Host, before: int) -> int:
    """Wait until the worker runs with another pid; return that."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (seen := worker(host))[0] not in ("running", "failing") or seen[1] in (0, before):
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)
    return seen[1]


def test_the_proven_slot_comes_back_after_a_reboot_with_its_singleton_and_the_other_one_does_not(
    engine: OwnEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image.base("shop:v1")
    host = Host(tmp_path, "shop", "shop")
    more = {"docker_image": "shop:{version}"}
    host.serve("blue", "v1", **more)
    host.slot("verified", "blue", "v1")
    image.build("shop:v2", "shop:v1")
    # One that does not end with exit code 0 when the host goes down.
    host.serve("green", "v2", environment={"MOOD": "stubborn"}, stop_timeout=1)
    host.slot("singletons_started", "blue", "v1", singletons=MAILER, singletons_stay=0.3)
    first = worker(host)[1]
    engine.reboot()
    host.until("running", "blue")
    assert host.seen("blue")["current"]
    assert host.seen("green")["state"] == "absent"
    assert host.container("green")["State"]["ExitCode"] != 0
    assert host.container("green")["RestartCount"] == 0
    # Killed, it comes back too, as a process of the same container.
    second = comes_back(host, first)
    os.kill(second, signal.SIGKILL)
    comes_back(host, second)

    # Cut off when it was to be stopped: it does not come back with its host, and is found.
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(Engine, "stop", cut_off)
        with pytest.raises(KeyboardInterrupt):
            host.slot("singletons_stopped", "green", "v2", singletons={})
    engine.reboot()
    host.until("running", "blue")
    assert worker(host) == ("absent", 0)
    assert host.slot("singletons_stopped", "green", "v2", singletons={})["changed"]
    assert inspect("container", "shop-blue-mailer") is None
    host.leave()
