"""The slot that is stopped by itself: what the host's own program asks before, and what a plan makes of it."""

from __future__ import annotations

import fcntl
import http.server
import inspect
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils import retirement_program
from ansible_collections.baton.release.plugins.module_utils.durations import seconds_of
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan_release import plan_release
from ansible_collections.baton.release.plugins.module_utils.plan_rollback import plan_rollback
from ansible_collections.baton.release.plugins.module_utils.plan_text import describe
from ansible_collections.baton.release.plugins.module_utils.retirement_program import main
from ansible_collections.baton.release.plugins.module_utils.status_text import describe_status

from tests.unit.plugins.module_utils.test_plan import SECOND_DONE, SHA

LEASE = 7


class Balancer:
    """What users get from a load balancer: one version after the other, the last one for ever."""

    def __init__(self) -> None:
        self.versions = ["v2"]
        self.asked = 0
        balancer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                version = balancer.versions[min(balancer.asked, len(balancer.versions) - 1)]
                balancer.asked += 1
                body = json.dumps({"app": {"version": version}}).encode() if version else b"not here"
                self.send_response(200 if version else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/health/ready"


@pytest.fixture
def balancer() -> Iterator[Balancer]:
    """Return a load balancer that serves v2."""
    running = Balancer()
    yield running
    running.server.shutdown()
    running.server.server_close()


class Host:
    """A state directory with a record whose time is over, and whether the slot was stopped."""

    def __init__(self, state: Path, balancer: Balancer) -> None:
        self.state, self.stopped, self.ended = state, state / "stopped", state / "ended"
        self.record: dict[str, Any] = {
            "slot": "blue",
            "version": "v1",
            "live_version": "v2",
            "at": time.time() - 1,
            "token": LEASE,
            "ask": [balancer.url],
            "version_key": "app.version",
            "stop": ["touch", str(self.stopped)],
            "unschedule": ["touch", str(self.ended)],
        }
        self.write()
        self.lease(LEASE)

    def write(self, **changes: Any) -> None:
        self.record.update(changes)
        (self.state / "retirement.json").write_text(json.dumps(self.record))

    def lease(self, token: int) -> None:
        (self.state / "fence.json").write_text(json.dumps({"token": token}))


@pytest.fixture
def host(tmp_path: Path, balancer: Balancer) -> Host:
    """Return a host whose blue slot may be retired."""
    return Host(tmp_path, balancer)


def test_a_slot_whose_time_is_over_is_stopped_once(host: Host, balancer: Balancer) -> None:
    assert main(host.state) == "blue with v1 is retired"
    assert (host.stopped.exists(), host.ended.exists()) == (True, True)
    assert balancer.asked >= retirement_program.TIMES
    assert main(host.state) == "no slot is to be retired"


@pytest.mark.parametrize(
    ("served", "why"),
    [
        pytest.param(["v1"], "answers with v1, not with v2", id="traffic went back and nobody could tell this host"),
        pytest.param(["v2", "v2", "v1"], "answers with v1", id="some of the clients reach the slot"),
        pytest.param([""], "answers with no version", id="maintenance"),
    ],
)
def test_nothing_is_stopped_unless_the_load_balancer_serves_the_other_version(
    host: Host, balancer: Balancer, served: list[str], why: str
) -> None:
    balancer.versions = served
    assert why in main(host.state)
    assert not host.stopped.exists()
    assert not host.ended.exists()  # it is asked again later
    balancer.versions, balancer.asked = ["v2"], 0
    assert main(host.state) == "blue with v1 is retired"


def test_one_load_balancer_that_does_not_answer_is_enough_to_wait(host: Host) -> None:
    host.write(ask=[*host.record["ask"], "http://127.0.0.1:1/health/ready"])
    assert "127.0.0.1:1/health/ready answers with no version" in main(host.state)
    host.write(ask=[])
    assert "no load balancer to ask" in main(host.state)
    assert not host.stopped.exists()


def test_a_newer_lease_or_a_time_that_has_not_come_keeps_the_slot(host: Host, balancer: Balancer) -> None:
    host.lease(LEASE + 1)
    assert "has seen lease 8" in main(host.state)
    host.lease(LEASE)
    host.write(at=time.time() + 60)
    assert "not before" in main(host.state)
    assert (host.stopped.exists(), balancer.asked) == (False, 0)


@pytest.mark.parametrize("change", ["cancelled", "another lease", "another time"])
def test_whoever_comes_first_to_the_lock_wins(host: Host, balancer: Balancer, change: str) -> None:
    """A rollback comes to the host while its program has asked already, and waits for the lock."""
    said: list[str] = []
    with (host.state / "fence.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        program = threading.Thread(target=lambda: said.append(main(host.state)))
        program.start()
        while balancer.asked < retirement_program.TIMES:
            time.sleep(0.01)
        if change == "cancelled":
            (host.state / "retirement.json").unlink()
        elif change == "another lease":
            host.lease(LEASE + 1)
        else:
            host.write(at=time.time() + 60)
    program.join(10)
    assert said == ["somebody is at work since"]
    assert not host.stopped.exists()


def test_what_cannot_be_stopped_is_tried_again(host: Host) -> None:
    host.write(stop=["false"])
    assert main(host.state) == "false failed"
    assert (host.state / "retirement.json").exists()
    assert not host.ended.exists()


def test_the_program_stands_alone(host: Host) -> None:
    program = host.state / "retirement.py"
    program.write_text(inspect.getsource(retirement_program))
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(program), str(host.state)], capture_output=True, text=True, check=True
    )
    assert (done.stdout, host.stopped.exists()) == ("blue with v1 is retired\n", True)


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("90s", 90), ("30m", 1800), ("1h", 3600), ("2d", 172_800)])
def test_a_time_has_a_unit(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["0", "90", "1.5h", "0s", "1 h", "1w", "-1h", "1h30m"])
def test_any_other_is_refused(text: str) -> None:
    with pytest.raises(BatonError, match="such as 90s"):
        seconds_of(text)


def hot(retires_in: int | None, *, timer: bool, only: str = "") -> Observed:
    """Green is live with v2; blue runs v1, which is to be stopped in so many seconds."""
    hosts = {
        name: {
            **one,
            "slots": {
                **one["slots"],
                "blue": {
                    **one["slots"]["blue"],
                    "retires_in": None if only not in ("", name) else retires_in,
                    "timer": timer,
                },
            },
        }
        for name, one in SECOND_DONE.hosts.items()
    }
    runs = [{**run, "token": 1} for run in SECOND_DONE.journal["runs"]]
    lease = {"token": 2, "owner": ""}
    pools: dict[str, dict[str, list[str]]] = {name: {"servers": [], "up": []} for name in ("blue", "green")}
    balancers = {name: {**one, "pools": pools} for name, one in SECOND_DONE.balancers.items()}
    journal = {**SECOND_DONE.journal, "runs": runs, "lease": lease}
    return replace(SECOND_DONE, balancers=balancers, hosts=hosts, journal=journal)


@pytest.mark.parametrize(
    ("retires_in", "timer", "mode"),
    [
        (None, False, "hot"),
        (3600, True, "hot"),
        (60, True, "warm"),
        (0, True, "warm"),
        (-5, True, "warm"),
        (-5, False, "hot"),
    ],
)
def test_a_slot_that_may_be_stopped_before_a_rollback_comes_to_it_is_staged_again(
    retires_in: int | None, timer: bool, mode: str
) -> None:
    observed = hot(retires_in, timer=timer)
    assert plan_rollback(observed).mode == mode
    if retires_in is not None:
        assert plan_rollback(hot(retires_in, timer=timer, only="app2")).mode == mode
    release = plan_release(observed, version="v1", sha256=SHA)
    assert release.mode == {"hot": "hot", "warm": "forward"}[mode]


def test_the_next_run_sweeps_what_no_timer_has_stopped() -> None:
    plan = plan_release(hot(-5, timer=False), version="v2", sha256=SHA)
    assert (plan.mode, plan.steps, plan.overdue) == ("nothing", ["sweep"], ["app1", "app2"])
    assert plan.parts(state_host="lb1") == {"app1": ["sweep"], "app2": ["sweep"], "lb1": []}
    text = " ".join(describe(plan, app_name="shop", step_notes={}))
    assert "the time of the other slot is over on app1, app2; it is stopped there" in text
    assert plan_release(hot(0, timer=False), version="v2", sha256=SHA).steps == ["sweep"]
    assert plan_release(hot(5, timer=False), version="v2", sha256=SHA).steps == []
    assert plan_release(hot(-5, timer=False), version="v3", sha256=SHA).overdue == []


def test_the_plan_and_the_status_say_for_how_long() -> None:
    plan = replace(plan_release(hot(None, timer=False), version="v3", sha256=SHA), keep_hot="1h")
    text = " ".join(describe(plan, app_name="shop", step_notes={}))
    assert "rollback.yml is one command of the load balancer; 1h after the proof it is stopped, and warm" in text

    def status(observed: Observed) -> str:
        return " ".join(describe_status(observed, app_name="shop", schema={}, now=0.0).split())

    assert "way back hot: v1 runs in blue; hot for another 59 min" in status(hot(3590, timer=True))
    assert "way back warm: v1 is installed and would be staged in blue" in status(hot(60, timer=True))
    assert "way back hot: v1 runs in blue; its time is over, and the next run stops it" in status(hot(-5, timer=False))
    assert "way back hot: v1 runs in blue last runs" in status(hot(None, timer=False))
