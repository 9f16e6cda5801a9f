"""The timer that stops the slot before, on a host with systemd and without any controller."""

from __future__ import annotations

import time
from typing import Any

from tests.systemd.host import PORTS, Host

TIMER = "shop-retirement.timer"
PATIENCE_SECONDS = 60.0
# On a busy machine each look at the host takes some of these.
SECONDS = 12
# What is live answers for the load balancer: v2 in green, or the slot that is about to be stopped.
GREEN, BLUE = (f"http://127.0.0.1:{PORTS[slot]}/" for slot in ("green", "blue"))


def hot_pair(host: Host, keep_hot: str, ask: str = GREEN) -> None:
    """Have v1 hot in blue for so long, and v2 live in green."""
    for slot, version in (("blue", "v1"), ("green", "v2")):
        host.serve(slot, version)
    more: dict[str, Any] = {"keep_hot": keep_hot, "ask": [ask], "version_key": "env.BATON_VERSION"}
    assert host.slot("verified", "green", "v2", **more)["changed"]
    assert not host.slot("verified", "green", "v2", **more)["changed"]


def timer(host: Host) -> str:
    return host.sh("systemctl", "is-active", TIMER, check=False).strip()


def ended(host: Host) -> bool:
    """Wait until the timer has run its program; say whether blue was stopped."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        # It says so after it has stopped the slot, so what is seen next is what it left.
        said = host.sh("journalctl", "-o", "cat", "-u", "shop-retirement.service", "--no-pager", check=False)
        if host.slot("gathered")["slots"]["blue"]["state"] == "absent":
            return True
        if "blue" in said:
            return False
        time.sleep(0.5)
    return False


def test_the_slot_before_is_stopped_by_a_timer_and_not_removed(host: Host) -> None:
    hot_pair(host, f"{SECONDS}s")
    assert timer(host) == "active"
    assert host.slot("gathered")["slots"]["blue"]["timer"]
    assert ended(host)
    seen = host.slot("gathered")
    assert (seen["slots"]["blue"]["version"], seen["slots"]["blue"]["retires_in"]) == ("v1", None)
    assert (seen["slots"]["green"]["state"], seen["slots"]["green"]["version"]) == ("running", "v2")
    assert timer(host) in ("inactive", "failed", "unknown")
    assert host.serve("blue", "v1")  # the way back is warm


def test_what_a_load_balancer_serves_is_not_stopped(host: Host) -> None:
    """Traffic went back while this host could not be told: the record still says that green is live."""
    hot_pair(host, "2s", ask=BLUE)
    time.sleep(5)
    assert host.slot("gathered")["slots"]["blue"]["state"] == "running"
    assert timer(host) == "active"
    assert "answers with v1, not with v2" in host.sh(
        "journalctl", "-o", "cat", "-u", "shop-retirement.service", "--no-pager"
    )


def test_a_rollback_just_before_the_end_wins(host: Host) -> None:
    hot_pair(host, f"{SECONDS}s")
    host.slot("hot")
    assert timer(host) in ("inactive", "failed", "unknown")
    assert host.slot("gathered")["slots"]["blue"]["state"] == "running"
    time.sleep(SECONDS)
    assert host.slot("gathered")["slots"]["blue"]["state"] == "running"
