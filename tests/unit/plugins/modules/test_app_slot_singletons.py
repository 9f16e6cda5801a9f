"""app_slot and the processes that must exist once, against a real supervisord: which of them run on a host, and from which slot."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.runtime_supervisor import Supervisor

from tests.unit.plugins.modules import test_app_slot

# Each says in the diary what it was given, and when it begins and ends.
WORKER = """\
import json, os, signal, sys, time
def say(what):
    own = [os.environ["BATON_SINGLETON"], os.environ["BATON_VERSION"], os.environ["BATON_SLOT"], os.getpid(), what, os.getcwd()]
    with open(sys.argv[1], "a") as diary:
        diary.write(json.dumps(own) + "\\n")
def end(*_):
    time.sleep(float(sys.argv[2]))
    say("end")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
say("begin")
if sys.argv[3:]:
    time.sleep(float(sys.argv[3]))
    sys.exit(f"no way with {os.environ.get('SECRET')}")
time.sleep(600)
"""
supervised = test_app_slot.supervised


class Host(test_app_slot.Host):
    """The same host, with a worker in its settings."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.diary = root / "diary"
        self.diary.unlink(missing_ok=True)

    def worker(self, *, ends: float = 0, crashes: float | None = None, **more: Any) -> dict[str, Any]:
        """Return the definition of one that takes so long to end, and crashes after so many seconds."""
        words = [str(self.diary), str(ends), *([] if crashes is None else [str(crashes)])]
        return {"command": [sys.executable, "-c", WORKER, *words], **more}

    def start(self, slot: str = "blue", version: str = "v1", /, **singletons: Any) -> dict[str, Any]:
        return self.slot("singletons_started", slot, version, singletons=singletons, singletons_stay=0.5)

    def stop(self, slot: str = "blue", /, **singletons: Any) -> dict[str, Any]:
        return self.slot("singletons_stopped", slot, singletons=singletons)

    def alone(self) -> list[tuple[str, str, str, str]]:
        """Return name, slot, version and state of each that there is."""
        found = self.slot("gathered")["singletons"]
        return [(one["name"], one["slot"], one["version"], one["state"]) for one in found]

    def said(self) -> list[list[Any]]:
        return [json.loads(line) for line in self.diary.read_text().splitlines()] if self.diary.exists() else []


@pytest.fixture
def host(supervised: Path) -> Iterator[Host]:
    """A host with nothing on it."""
    one = Host(supervised)
    yield one
    for slot in ("blue", "green"):
        one.slot("absent", slot)
    assert one.slot("gathered")["singletons"] == []
    assert not (one.root / "conf.d" / "shop-blue-mailer.conf").exists()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_runs_beside_the_app_with_the_environment_of_its_slot(host: Host) -> None:
    app = host.serve(environment={"NAME": "a 'b'"})
    first = host.start(mailer=host.worker())
    assert first["changed"]
    assert host.alone() == [("mailer", "blue", "v1", "running")]
    assert host.said()[0][:3] == ["mailer", "v1", "blue"]
    assert host.said()[0][5] == str(host.root / "shop" / "releases" / "v1")
    again = host.start(mailer=host.worker())
    assert (again["changed"], again["singletons"]) == (False, first["singletons"])
    assert not host.stop(mailer=host.worker())["changed"]
    assert host.slot("gathered")["slots"]["blue"]["pid"] == app
    assert host.slot("gathered")["slots"]["green"]["singletons"] is None


def test_what_is_not_wanted_is_gone_when_the_call_returns(host: Host) -> None:
    host.serve("blue", "v1")
    host.serve("green", "v2")
    host.start(mailer=host.worker(ends=0.7), reporter=host.worker())
    pid = host.said()[0][3]
    assert host.stop("green", mailer=host.worker(ends=0.7))["changed"]
    assert (host.alone(), alive(pid)) == ([], False)
    assert [one[4] for one in host.said() if one[3] == pid] == ["begin", "end"]
    host.start("green", "v2", mailer=host.worker())
    assert host.alone() == [("mailer", "green", "v2", "running")]
    # Of those that stay, one that is to be given something else is started anew; nothing of another slot is needed for that.
    assert host.start("green", "v2", mailer=host.worker(stop_seconds=5))["changed"]
    assert [one[4] for one in host.said()][-2:] == ["end", "begin"]
    assert host.start("green", "v2", reporter=host.worker())["changed"]
    assert host.alone() == [("reporter", "green", "v2", "running")]


def test_check_mode_says_it_and_does_nothing(host: Host) -> None:
    host.serve()
    given: dict[str, Any] = {"singletons": {"mailer": host.worker()}, "singletons_stay": 0.1}
    assert host.slot("singletons_started", check_mode=True, **given)["changed"]
    assert host.alone() == []
    host.slot("singletons_started", **given)
    assert not host.slot("singletons_started", check_mode=True, **given)["changed"]
    assert host.slot("singletons_stopped", "green", check_mode=True, **given)["changed"]
    assert host.alone() == [("mailer", "blue", "v1", "running")]


@pytest.mark.parametrize("crashes", [0, 1.5], ids=["at once", "when it counts as running"])
def test_one_that_does_not_stay_up_is_said_without_its_secrets(host: Host, crashes: float) -> None:
    host.slot("present")
    (host.root / "shop/slots/blue/secrets.env").write_text('SECRET="c4n4ry"\n')
    host.serve()
    given: dict[str, Any] = {"singletons": {"mailer": host.worker(crashes=crashes)}, "singletons_stay": 3}
    with pytest.raises(BatonError, match="mailer of v1 stays up for 3 s") as refusal:
        host.slot("singletons_started", **given)
    assert "no way with ********" in str(refusal.value)
    assert "c4n4ry" not in str(refusal.value)
    # It may still be tried again by what supervises it, so it is found, and stopped.
    assert [one[0] for one in host.alone()] == ["mailer"]
    assert host.stop("green")["changed"]
    assert host.alone() == []


def test_one_that_is_started_again_between_two_looks_does_not_count_as_up(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast what supervises it is: the process is another one."""
    host.serve()
    looks = iter(range(1, 1000))
    real = Supervisor.state

    def state(self: Supervisor, name: str) -> dict[str, Any]:
        found = real(self, name)
        return {**found, "pid": found["pid"] and 1_000_000 + next(looks) // 3} if "mailer" in name else found

    with monkeypatch.context() as fast:
        fast.setattr(Supervisor, "state", state)
        with pytest.raises(BatonError, match="was started again"):
            host.slot("singletons_started", singletons={"mailer": host.worker()}, singletons_stay=3)


def test_a_slot_comes_back_as_it_was_and_not_as_what_failed_since(host: Host) -> None:
    host.serve("blue", "v1")
    host.serve("green", "v2")
    host.start(mailer=host.worker())
    before = host.slot("gathered")["slots"]["blue"]["singletons"]
    with pytest.raises(BatonError, match="stays up"):
        host.start(mailer=host.worker(crashes=0), reporter=host.worker())
    assert host.slot("gathered")["slots"]["blue"]["singletons"]["mailer"] == before["mailer"]
    host.stop("green")
    host.start(mailer={})
    assert host.alone() == [("mailer", "blue", "v1", "running")]
    assert host.slot("gathered")["slots"]["blue"]["singletons"] == before
    assert not host.stop(mailer={})["changed"]
    # A slot that gets another release has nothing to come back to.
    host.slot("present", "blue", "v3")
    assert (host.alone(), host.slot("gathered")["slots"]["blue"]["singletons"]) == ([], None)
    with pytest.raises(BatonError, match="nothing of mailer in blue"):
        host.start("blue", "v3", mailer={})


@pytest.mark.parametrize("state", ["stopped", "absent", "present", "started", "verified"])
def test_whatever_ends_a_slot_ends_its_singletons(host: Host, state: str) -> None:
    host.serve("blue", "v1")
    host.start(mailer=host.worker())
    pid = host.said()[0][3]
    if state in ("started", "verified"):
        # Another slot that takes the place of this one, or is live.
        host.slot("present", "green", "v2")
        host.slot("started", "green", "v2", exclusive=state == "started")
        assert alive(pid) == (state == "verified")
        host.slot(state, "green", "v2", exclusive=True)
    else:
        host.slot(state, "blue", "v2")
    assert (host.alone(), alive(pid)) == ([], False)


def test_one_whose_start_was_cut_off_is_found_and_started(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.serve()
    with monkeypatch.context() as cut:
        cut.setattr(Supervisor, "start", lambda *_, **__: sys.exit(9))
        with pytest.raises(SystemExit):
            host.start(mailer=host.worker())
    assert host.alone() == [("mailer", "blue", "v1", "absent")]
    assert host.start(mailer=host.worker())["changed"]
    assert host.alone() == [("mailer", "blue", "v1", "running")]


def test_one_that_was_killed_is_started_again_by_what_supervises_it(host: Host) -> None:
    host.serve()
    host.start(mailer=host.worker())
    time.sleep(1)
    os.kill(host.said()[0][3], 9)
    deadline = time.monotonic() + 10
    while len(host.said()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert host.said()[1][3] != host.said()[0][3]


def test_an_older_lease_starts_and_stops_none(host: Host, tmp_path: Path) -> None:
    host.serve()
    host.start(mailer=host.worker())
    host.slot("fenced", token=2, state_dir=str(tmp_path))
    for state in ("singletons_started", "singletons_stopped"):
        with pytest.raises(BatonError, match="has seen lease 2"):
            host.slot(state, "green", "v2", token=1, state_dir=str(tmp_path))
    assert host.alone() == [("mailer", "blue", "v1", "running")]


def test_one_of_another_version_than_the_slot_holds_is_refused(host: Host) -> None:
    with pytest.raises(BatonError, match="slot blue holds nothing"):
        host.start(mailer=host.worker())
    host.serve()
    with pytest.raises(BatonError, match="slot blue holds v1"):
        host.start("blue", "v2", mailer=host.worker())
    assert host.alone() == []


@pytest.mark.parametrize(
    "given",
    [
        {"Mailer": {"command": ["x"]}},
        {"../x": {"command": ["x"]}},
        {"a\nb": {"command": ["x"]}},
        {"blue": {"command": ["x"]}},
        {"old-green": {"command": ["x"]}},
        {"a" * 31: {"command": ["x"]}},
        {"mailer": []},
        {"mailer": {"command": "x"}},
        {"mailer": {"command": []}},
        {"mailer": {"command": ["a\0b"]}},
        {"mailer": {"command": [1]}},
        {"mailer": {"commands": ["x"]}},
        {"mailer": {"command": ["x"], "stop_seconds": -1}},
        {"mailer": {"command": ["x"], "stop_seconds": 1.5}},
        {"mailer": {"command": ["x"], "stop_seconds": True}},
        {"mailer": {"command": ["x"], "host": 5}},
        {"mailer": {"host": "app1"}},
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_stopped(host: Host, given: dict[str, Any]) -> None:
    host.slot("present")
    for state in ("singletons_started", "singletons_stopped"):
        with pytest.raises(BatonError, match="slot_singletons; nothing was touched"):
            host.slot(state, singletons=given)
