"""Processes that must exist once, as containers: what they have of their slot's, and that no second one is left by anything."""

from __future__ import annotations

import json
import shutil
import time
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils._docker import Engine
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

from tests.containers.diary import INSIDE, Diary
from tests.containers.host import PATIENCE_SECONDS, Host
from tests.fleet.docker import attempt, docker, inspect

COMPOSE = """\
services:
  app:
    image: {images}:${{BATON_VERSION}}
    command: python3 /app/app.py
    ports: ["${{PORT}}:8000"]
    environment:
      FROM_FILE: ${{BATON_SLOT}}
      BATON_SINGLETON: none
    volumes: ["{diary}:{inside}", "./VERSION:/etc/app-version:ro"]
    tmpfs: /run
    user: "1234"
    working_dir: /tmp
    read_only: true
    cap_drop: [ALL]
    security_opt: [no-new-privileges:true]
    mem_limit: 256m
    stop_grace_period: 1s
    restart: always
"""
OF_ITS_SLOT = ("CapDrop", "Memory", "Mounts", "NetworkMode", "ReadonlyRootfs", "SecurityOpt", "Tmpfs")


class Working(Host):
    """A host whose slots may have workers."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.root, host.app, host.images)
        self.diary = Diary(self.root / "diary")
        text = COMPOSE.format(images=self.images, diary=self.diary.directory, inside=INSIDE).encode()
        for version in ("v1", "v2"):
            self.artifact(version, {"compose.yml": text})

    def slot(self, state: str, slot: str = "blue", version: str = "v1", **more: Any) -> dict[str, Any]:
        """Run app_slot; as in a release, those of singletons are not told of images."""
        described = {"docker_image": "", "docker_compose": "" if "singletons" in state else "compose.yml"}
        return super().slot(state, slot, version, **{**described, "singletons_stay": 0.3, **more})

    def start(self, slot: str = "blue", version: str = "v1", **more: Any) -> bool:
        """Have a worker run from a slot, and wait until it does; say whether that was to be done."""
        more = {"singletons": {"mailer": self.diary.worker()}, **more}
        changed = bool(self.slot("singletons_started", slot, version, **more)["changed"])
        if not more.get("check_mode"):
            self.diary.until(version, slot)
        return changed

    def alone(self) -> list[tuple[str, str]]:
        """Return slot and state of each worker that app_slot knows of."""
        return [(one["slot"], one["state"]) for one in self.slot("gathered")["singletons"]]

    def worker(self, slot: str = "blue") -> dict[str, Any]:
        """Return what docker says of the worker of a slot, nothing where there is none."""
        return inspect("container", f"{self.name(slot)}-mailer") or {}


@pytest.fixture
def working(host: Host) -> Working:
    """A host with nothing on it but the artifacts of two versions."""
    return Working(host)


def test_one_runs_as_its_slot_does_and_is_gone_when_it_was_stopped(working: Working) -> None:
    working.slot("present")
    working.secret('SECRET="s3\\$cret"\n')
    working.serve(token=5)
    wanted: dict[str, Any] = {"singletons": {"mailer": working.diary.worker(stop_seconds=7)}, "token": 5}

    def all_there_is() -> tuple[list[Any], str]:
        return sorted(working.root.rglob("*")), docker("ps", "--all", "--filter", f"name={working.app}-", "--quiet")

    before = all_there_is()
    assert working.start(**wanted, check_mode=True)
    assert all_there_is() == before
    assert working.start(**wanted)
    assert not working.start(**wanted)
    assert (working.alone(), working.diary.there()) == ([("blue", "running")], [("v1", "blue")])
    app, worker = working.container(), working.worker()
    assert [worker["HostConfig"][key] for key in OF_ITS_SLOT] == [app["HostConfig"][key] for key in OF_ITS_SLOT]
    assert worker["Image"] == app["Image"]
    assert (worker["HostConfig"]["RestartPolicy"]["Name"], worker["Config"]["StopTimeout"]) == ("always", 7)
    assert not any(worker["NetworkSettings"]["Ports"].values())
    assert worker["Config"]["Labels"] == {**app["Config"]["Labels"], "baton.release.singleton": "mailer"}
    (begun,) = working.diary.entries()
    assert {name: begun[name] for name in ("SECRET", "FROM_FILE", "BATON_INSTANCE", "PORT", "BATON_SINGLETON")} == {
        "SECRET": "s3$cret",
        "FROM_FILE": "blue",
        "BATON_INSTANCE": "app 1",
        "PORT": "8000",
        "BATON_SINGLETON": "mailer",
    }
    assert (begun["uid"], begun["cwd"]) == (1234, "/tmp")  # noqa: S108 - the container's own
    place = working.root / "app" / "singletons" / "blue-mailer"
    assert {path.name: path.stat().st_mode & 0o077 for path in place.iterdir() if path.name != "slot"} == {
        "container.json": 0,
        "singleton.json": 0,
    }
    assert "s3$cret" not in (place / "container.json").read_text() + json.dumps(worker["Config"]["Labels"])
    # The next version: gone when the call returns, however long it takes to end.
    working.serve("green", "v2", token=6)
    with pytest.raises(BatonError, match="has seen lease 6"):
        working.slot("singletons_stopped", "green", "v2", **wanted)
    before = all_there_is()
    assert working.slot("singletons_stopped", "green", "v2", singletons={}, check_mode=True)["changed"]
    assert (all_there_is(), working.worker()["State"]) == (before, worker["State"])
    assert working.slot("singletons_stopped", "green", "v2", singletons={})["changed"]
    assert (working.alone(), working.diary.there(), working.worker()) == ([], [], {})
    assert [one["what"] for one in working.diary.entries()] == ["begin", "end"]
    assert [*place.parent.iterdir()] == []


def test_one_that_crashes_is_said_and_one_that_ends_by_itself_comes_back(working: Working) -> None:
    working.slot("present")
    working.secret('SECRET="c4n4ry"\n')
    working.serve()
    with pytest.raises(BatonError, match=r"mailer of v1 stays up for 20 s") as refusal:
        working.start(singletons={"mailer": working.diary.worker(crashes=True)}, singletons_stay=20)
    assert "no queue, and no way with ********" in str(refusal.value)
    assert f"docker logs {working.name()}-mailer" in str(refusal.value)
    assert "c4n4ry" not in str(refusal.value)
    # Its engine tries again meanwhile; so it is found, and stopped, between two crashes too.
    assert [slot for slot, _state in working.alone()] == ["blue"]
    assert working.start()
    assert (working.alone(), working.diary.there()) == ([("blue", "running")], [("v1", "blue")])
    assert "crash" not in working.worker()["Config"]["Cmd"]
    count = len(working.diary.entries())
    docker("exec", working.worker()["Id"], "python3", "-c", "import os; os.kill(1, 15)")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(working.diary.entries()) < count + 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert working.diary.there() == [("v1", "blue")]
    with pytest.raises(BatonError, match=rf"docker refuses docker start {working.name()}-reporter: .*/no/where"):
        working.start(singletons={"reporter": {"command": ["/no/where"]}})
    assert (working.diary.there(), attempt("inspect", f"{working.name()}-reporter").returncode) == ([], 1)
    # Whatever ends the slot ends it.
    assert working.start()
    working.slot("stopped")
    assert (working.alone(), working.diary.there(), working.worker()) == ([], [], {})


def test_what_stands_in_its_way_is_said_before_anything_is_stopped(working: Working) -> None:
    working.serve()
    working.start()
    wanted = {"mailer": working.diary.worker()}
    with pytest.raises(BatonError, match=r"no container.json in .*/slots/green.*nothing was touched"):
        working.slot("singletons_stopped", "green", "v2", singletons=wanted)
    working.slot("present", "green", "v2")
    other = f"{working.name('green')}-mailer"
    theirs = docker("create", "--name", other, f"{working.images}:v1")
    with pytest.raises(BatonError, match=f"a container {other} on this host, which is not made by app_slot"):
        working.slot("singletons_stopped", "green", "v2", singletons=wanted)
    assert (working.alone(), working.diary.there()) == ([("blue", "running")], [("v1", "blue")])
    assert (working.worker("green")["Id"], working.worker("green")["State"]["Status"]) == (theirs, "created")
    docker("rm", other)
    # Nor is one taken that is of this app and another slot, whatever it is called.
    docker("stop", working.worker()["Id"])
    docker("rename", working.worker()["Id"], other)
    with pytest.raises(BatonError, match=f"a container {other} on this host, which is that of the app under"):
        working.slot("singletons_stopped", "green", "v2", singletons=wanted)


def test_what_was_cut_off_is_found_and_what_nobody_knows_of_is_not_started(
    working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    working.serve()

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(Engine, "start", cut_off)
        with pytest.raises(KeyboardInterrupt):
            working.start()
    assert (working.worker()["State"]["Status"], working.alone()) == ("created", [("blue", "stopped")])
    assert working.start()
    with monkeypatch.context() as cut:
        cut.setattr(Engine, "remove", cut_off)
        with pytest.raises(KeyboardInterrupt):
            working.slot("singletons_stopped", "green", singletons={})
    # What is left will not come back by itself, and is found.
    policy = working.worker()["HostConfig"]["RestartPolicy"]["Name"]
    assert (policy, working.alone(), working.diary.there()) == ("no", [("blue", "absent")], [])
    # Where nothing is known of it any more, it is another one that is started, and not that one before it.
    shutil.rmtree(working.root / "app" / "singletons")
    assert working.start()
    assert working.diary.there() == [("v1", "blue")]
    assert [one["what"] for one in working.diary.entries()] == ["begin", "end", "begin"]
