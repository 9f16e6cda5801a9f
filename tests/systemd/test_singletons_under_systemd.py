"""Processes that must exist once under a real systemd: as whom they run, what ends them, and what a reboot makes of them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.systemd.host import Host, RefusedError

DIARY = "/var/lib/shop/diary"
WORKER = """\
import json, os, signal, sys, time
def say(what):
    own = [what, *map(os.environ.get, ("BATON_SINGLETON", "BATON_VERSION", "SECRET")), os.getcwd(), os.getuid(), os.getpid()]
    with open("/var/lib/shop/diary", "a") as diary:
        diary.write(json.dumps(own) + "\\n")
def end(*_):
    time.sleep(1)
    say("end")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
say("begin")
if sys.argv[1:]:
    sys.exit(f"no way with {os.environ.get('SECRET')}")
time.sleep(3600)
"""
MAILER = {"mailer": {"command": ["/usr/bin/python3", "-c", WORKER]}}
CRASHES = {"mailer": {"command": ["/usr/bin/python3", "-c", WORKER, "crash"]}}


def alone(host: Host) -> list[tuple[str, str, str]]:
    """Return name, slot and state of each singleton of the host."""
    return [(one["name"], one["slot"], one["state"]) for one in host.slot("gathered")["singletons"]]


def said(host: Host) -> list[list[Any]]:
    return [json.loads(line) for line in host.sh("cat", DIARY).splitlines()]


def start(host: Host, slot: str, version: str, wanted: dict[str, Any]) -> dict[str, Any]:
    return host.slot("singletons_started", slot, version, singletons=wanted, singletons_stay=2)


@pytest.fixture(autouse=True)
def _empty_diary(provisioned: Host) -> None:
    provisioned.sh("rm", "-f", DIARY)


def test_one_runs_as_the_app_does_and_is_gone_when_it_was_stopped(host: Host) -> None:
    host.slot("present")
    host.sh("sh", "-c", "umask 077; cat > /srv/shop/slots/blue/secrets.env", given='SECRET="s3\\$cret"\n')
    host.serve()
    assert start(host, "blue", "v1", MAILER)["changed"]
    assert not start(host, "blue", "v1", MAILER)["changed"]
    assert alone(host) == [("mailer", "blue", "running")]
    (begun,) = said(host)
    assert begun[:6] == ["begin", "mailer", "v1", "s3$cret", "/srv/shop/releases/v1", int(host.sh("id", "-u", "shop"))]
    unit = "shop-singleton@blue-mailer.service"
    assert host.sh("systemctl", "is-enabled", unit).strip() == "enabled"
    shown = host.sh(
        "systemctl", "show", "--property=NoNewPrivileges,ProtectSystem,MemoryMax,Restart,TimeoutStopUSec", unit
    )
    assert {"NoNewPrivileges=yes", "ProtectSystem=strict", f"MemoryMax={512 << 20}", "Restart=always"} <= {
        *shown.split()
    }
    assert "TimeoutStopUSec=30s" in shown
    # The next version: gone when the call returns, however long it takes to end.
    host.serve("green", "v2")
    assert host.slot("singletons_stopped", "green", "v2", singletons=MAILER)["changed"]
    assert ([one[0] for one in said(host)], alone(host)) == (["begin", "end"], [])
    assert host.sh("ls", "/srv/shop/singletons") == ""
    assert host.sh("systemctl", "is-enabled", unit, check=False).strip() == "disabled"
    verify = "systemd-analyze verify /etc/systemd/system/shop-singleton@.service 2>&1 | grep -v 'singletons/.*/run is not executable'"
    assert host.sh("sh", "-c", verify, check=False) == ""


def test_after_a_reboot_the_one_of_the_live_slot_comes_back_and_no_other_one(host: Host) -> None:
    host.serve("blue", "v1")
    start(host, "blue", "v1", MAILER)
    host.slot("verified", "blue", "v1")
    host.serve("green", "v2")
    host.slot("singletons_stopped", "green", "v2", singletons=MAILER)
    # Cut off here, nobody comes back.
    host.reboot()
    assert (alone(host), host.answers("blue")) == ([], True)
    host.serve("green", "v2")
    start(host, "green", "v2", MAILER)
    host.slot("verified", "green", "v2")
    host.reboot()
    assert host.answers("green")
    assert alone(host) == [("mailer", "green", "running")]
    assert [one[2] for one in said(host) if one[0] == "begin"] == ["v1", "v2", "v2"]


def test_one_that_crashes_is_said_and_one_that_was_killed_is_started_again(host: Host) -> None:
    host.slot("present")
    host.sh("sh", "-c", "umask 077; cat > /srv/shop/slots/blue/secrets.env", given='SECRET="s3cret"\n')
    host.serve()
    with pytest.raises(RefusedError, match=r"mailer of v1 stays up for 2 s") as refusal:
        start(host, "blue", "v1", CRASHES)
    assert "no way with ********" in str(refusal.value)
    start(host, "blue", "v1", MAILER)
    pid = said(host)[-1][6]
    host.sh("kill", "-9", str(pid))
    deadline = time.monotonic() + 20
    while said(host)[-1][6] == pid:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    # Whatever ends the slot ends it.
    host.slot("stopped")
    assert (alone(host), host.processes()) == ([], [])


def test_a_host_without_the_unit_is_said_before_anything_is_stopped(host: Host) -> None:
    host.serve()
    start(host, "blue", "v1", MAILER)
    unit = "/etc/systemd/system/shop-singleton@.service"
    host.sh(
        "sh",
        "-c",
        f"sed 's,/srv/shop/singletons/%i/run,/srv/other/run,' {unit} > /root/other && cp -p {unit} /root/unit && cp /root/other {unit}",
    )
    host.sh("systemctl", "daemon-reload")
    try:
        host.serve("green", "v2")
        with pytest.raises(RefusedError, match=r"runs /srv/other/run.*provision.yml"):
            host.slot("singletons_stopped", "green", "v2", singletons=MAILER)
        assert alone(host) == [("mailer", "blue", "running")]
    finally:
        host.sh("sh", "-c", f"cp -p /root/unit {unit}; rm /root/unit /root/other")
        host.sh("systemctl", "daemon-reload")
