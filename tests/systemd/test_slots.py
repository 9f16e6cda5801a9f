"""app_slot against a real systemd: one slot on one host, and what a crash, a slow end and a reboot make of it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.systemd.host import CODE, PORTS, Host, RefusedError

STRANGE = {
    "QUOTES": "a 'b' \"c\" $d `e` %f %i ${HOME} \\n \\",
    "LINES": "first\n  second\t#third\n",
    "BLANKS": "  around  ",
    "HASH": "#;!",
    "UMLAUT": "Grüße, \U0001f680",
    "EMPTY": "",
}


def test_each_state_is_reached_once(host: Host) -> None:
    """The ladder: each step first in check mode, then for real, then again."""
    for state in ("present", "started", "verified", "stopped", "absent"):
        assert host.slot(state, check_mode=True)["changed"], state
        assert host.slot(state)["changed"], state
        assert not host.slot(state)["changed"], state
    assert host.sh("ls", "/srv/shop/slots") == ""
    assert host.seen()["state"] == "absent"


def test_it_runs_as_its_own_user_with_exactly_its_environment(host: Host) -> None:
    host.slot("present", environment=STRANGE)
    host.sh("sh", "-c", "umask 077; cat > /srv/shop/slots/blue/secrets.env", given='SECRET="s3\\$cret"\n')
    host.serve(environment=STRANGE)
    seen = host.asked()
    assert {name: seen["env"][name] for name in STRANGE} == STRANGE
    assert (seen["env"]["SECRET"], seen["env"]["BATON_INSTANCE"], seen["env"]["BATON_VERSION"]) == (
        "s3$cret",
        "app 1",
        "v1",
    )
    assert seen["cwd"] == "/srv/shop/releases/v1"
    assert seen["uid"] == int(host.sh("id", "-u", "shop"))
    assert host.seen() == {**host.seen(), "state": "running", "pid": seen["pid"], "current": True}


def test_the_app_cannot_reach_its_secrets_nor_what_runs_next(host: Host) -> None:
    host.slot("present")
    host.sh("sh", "-c", "umask 077; cat > /srv/shop/slots/blue/secrets.env", given='SECRET="s3cret"\n')
    host.serve()
    for path in ("env", "secrets.env"):
        assert host.asked(path=f"/try/read/srv/shop/slots/blue/{path}") == "Permission denied", path
    for path in (
        "srv/shop/releases/v1/app.py",
        "srv/shop/slots/blue/run",
        "srv/shop/x",
        "etc/x",
        "var/lib/baton/shop/x",
        "opt/x",
    ):
        assert host.asked(path=f"/try/write/{path}") in ("Permission denied", "Read-only file system"), path
    assert host.asked(path="/try/read/home/deploy/.profile") in ("Permission denied", "No such file or directory")
    # The same without systemd's protection: ownership alone holds too.
    for path in ("/srv/shop/slots/blue/secrets.env", "/srv/shop/slots/blue/env"):
        assert host.sh("setpriv", "--reuid=shop", "--clear-groups", "cat", path, check=False) == "", path
    assert host.asked(path="/try/write/var/lib/shop/data") == "1"
    assert host.asked(path="/try/write/tmp/data") == "1"
    assert host.asked(path="/try/read/tmp/data") == "x"
    assert host.sh("find", "/tmp", "-maxdepth", "1", "-name", "data") == ""  # noqa: S108 - the one on the host
    status = host.asked()["status"]
    assert "NoNewPrivs:\t1" in status
    assert "CapBnd:\t0000000000000000" in status


def test_a_crash_loop_is_said_at_once_with_the_end_of_its_journal(host: Host) -> None:
    crash = {"MOOD": "crash"}
    host.slot("present", environment=crash)
    host.sh("sh", "-c", "umask 077; cat > /srv/shop/slots/blue/secrets.env", given='SECRET="c4n4ry"\n')
    host.slot("present", environment=crash)
    begun = time.monotonic()
    with pytest.raises(RefusedError, match=r"no way with \*\*\*\*\*\*\*\*") as refusal:
        host.slot("started", environment=crash)
    assert time.monotonic() - begun < 10
    assert "shop@blue.service is failing (exit status 1" in str(refusal.value)
    assert "c4n4ry" not in str(refusal.value)
    assert host.seen()["state"] == "failing"


def test_a_program_that_ends_by_itself_is_said(host: Host) -> None:
    host.slot("present", environment={"MOOD": "leave"})
    with pytest.raises(RefusedError, match=r"(?s)is absent and port 8001 is closed.*nothing to do"):
        host.slot("started", environment={"MOOD": "leave"})


def test_a_command_that_is_not_there_is_said(host: Host) -> None:
    host.slot("present", command=["/does/not/exist"])
    with pytest.raises(RefusedError, match=r"(?s)exit status 127.*/does/not/exist"):
        host.slot("started", command=["/does/not/exist"])


def test_it_starts_from_scratch_after_it_was_given_up(host: Host) -> None:
    crash = {"MOOD": "crash"}
    host.slot("present", environment=crash)
    with pytest.raises(RefusedError):
        host.slot("started", environment=crash)
    deadline = time.monotonic() + 60
    while "given up" not in host.seen()["detail"]:
        assert time.monotonic() < deadline, host.seen()
        time.sleep(0.5)
    assert host.show("ActiveState") == "failed"
    host.serve()
    assert host.show("NRestarts") == "0"
    assert host.answers("blue")


def test_many_starts_in_a_row_are_no_crash_loop(host: Host) -> None:
    """provision's limit is four starts in a minute; those that somebody asks for do not count."""
    for count in range(6):
        host.serve(environment={"COUNT": str(count)})
    assert host.asked()["env"]["COUNT"] == "5"


def test_a_killed_process_comes_back(host: Host) -> None:
    pid = host.serve()
    host.sh("kill", "-9", str(pid))
    deadline = time.monotonic() + 30
    while not host.answers("blue"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert host.show("NRestarts") == "1"
    seen = host.seen()
    assert (seen["state"], seen["current"]) == ("running", True)
    assert seen["pid"] != pid


def test_a_slow_end_is_waited_for(host: Host) -> None:
    host.serve(environment={"MOOD": "slow"})
    begun = time.monotonic()
    host.slot("stopped")
    assert time.monotonic() - begun > 1.4
    assert "ended in good order" in host.sh("journalctl", "-u", "shop@blue", "-o", "cat", "-n", "5")
    assert host.processes() == []


@pytest.mark.parametrize(("limit", "shortest", "longest"), [(2, 1.9, 5), (0, 0, 3)])
def test_an_end_that_never_comes_is_forced_in_time(host: Host, limit: int, shortest: float, longest: float) -> None:
    host.serve(environment={"MOOD": "stubborn"}, stop_timeout=limit)
    begun = time.monotonic()
    host.slot("stopped", stop_timeout=limit)
    assert shortest < time.monotonic() - begun < longest
    assert host.processes() == []
    assert host.seen()["state"] == "absent"


def test_what_the_app_has_started_ends_with_it(host: Host) -> None:
    host.serve(environment={"MOOD": "parent"})
    assert len(host.processes()) == 2
    host.slot("stopped")
    assert host.processes() == []


def test_a_port_that_is_taken_is_said(host: Host) -> None:
    host.slot("present")
    # Connections of the test before may still linger there.
    squat = f"import socket, time; s = socket.create_server(('', {PORTS['blue']})); time.sleep(60)"
    host.sh("systemd-run", "--quiet", "--unit=squatter", "python3", "-c", squat)
    try:
        deadline = time.monotonic() + 30
        while not host.sh("ss", "-Hltn", f"sport = :{PORTS['blue']}"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with pytest.raises(RefusedError, match=f"port {PORTS['blue']} of slot blue"):
            host.slot("started")
        assert host.seen()["state"] == "absent"
    finally:
        host.sh("systemctl", "stop", "squatter")


def test_a_change_of_one_slot_leaves_the_other_alone(host: Host) -> None:
    blue = host.serve("blue", "v1")
    host.serve("green", "v2")
    host.serve("green", "v3")
    host.slot("stopped", "green")
    assert host.seen("blue")["pid"] == blue


def test_the_verified_slot_comes_back_after_a_reboot_and_the_idle_one_does_not(host: Host) -> None:
    host.serve("blue", "v1")
    host.slot("verified", "blue", "v1")
    host.serve("green", "v2")
    # Before the new one is proven, a reboot leads to the old one.
    host.reboot()
    assert (host.answers("blue"), host.answers("green")) == (True, False)
    assert host.seen("green")["state"] == "absent"
    host.serve("green", "v2")
    host.slot("verified", "green", "v2")
    assert host.answers("blue")
    host.reboot()
    assert (host.answers("blue"), host.answers("green")) == (False, True)
    assert host.asked("green")["env"]["BATON_VERSION"] == "v2"
    seen = host.seen("green")
    assert (seen["state"], seen["current"], seen["verified"]) == ("running", True, True)
    # A slot that was stopped on purpose stays so.
    host.slot("stopped", "green")
    host.reboot()
    assert (host.answers("blue"), host.answers("green")) == (False, False)


def test_the_only_slot_that_runs_is_the_one_that_comes_back(host: Host) -> None:
    host.serve("blue", "v1")
    host.slot("verified", "blue", "v1")
    host.serve("green", "v2", exclusive=True)
    assert (host.show("UnitFileState", "blue"), host.show("UnitFileState", "green")) == ("disabled", "enabled")
    assert not host.slot("started", "green", "v2", exclusive=True)["changed"]


def test_a_changed_unit_is_read_before_it_is_used(host: Host) -> None:
    host.serve()
    unit = "/etc/systemd/system/shop@.service"
    host.sh("sed", "-i", "s/^UMask=.*/UMask=0077/", unit)
    try:
        assert host.show("NeedDaemonReload") == "yes"
        host.serve(environment={"NEW": "1"})
        assert (host.show("NeedDaemonReload"), host.show("UMask")) == ("no", "0077")
    finally:
        host.sh("sed", "-i", "s/^UMask=.*/UMask=0027/", unit)
        host.sh("systemctl", "daemon-reload")


def test_a_host_that_was_not_provisioned_is_said(host: Host) -> None:
    other: dict[str, Any] = {"app_name": "other", "app_root": "/srv/other", "state_dir": "/var/lib/baton/other"}
    assert host.slot("gathered", **other)["slots"]["blue"]["state"] == "absent"
    assert host.slot("present", check_mode=True, **other)["changed"]
    host.slot("present", **other)
    with pytest.raises(RefusedError, match=r"other@blue.service: not-found.*provision.yml"):
        host.slot("started", **other)
    assert host.slot("absent", **other)["changed"]


def test_a_unit_of_another_directory_is_said(host: Host) -> None:
    host.slot("present", app_root="/srv/elsewhere")
    with pytest.raises(RefusedError, match=r"runs /srv/shop/slots/blue/run.*/srv/elsewhere/slots/blue/run"):
        host.slot("started", app_root="/srv/elsewhere")


def test_without_the_right_to_talk_to_systemd_it_says_so(host: Host) -> None:
    code = f"""
import sys
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.runtime_systemd import Systemd
assert "{CODE}" in sys.path
runtime = Systemd()
print(runtime.state("shop@blue.service")["state"])
try:
    runtime.keep("shop@blue.service", check_mode=False)
except BatonError as error:
    print(error)
"""
    said = host.python(code, user="deploy")
    assert said.startswith("absent\nFound: systemctl enable shop@blue.service failed: ")
    assert "ansible_become" in said
