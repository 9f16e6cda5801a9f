"""Waiting for a host: its systemd has started what it starts, and its sshd lets somebody in."""

from __future__ import annotations

import socket
import time

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

from tests.fleet.docker import attempt

STARTING = 120.0
"""Seconds that a host may take: 40 of them on two cores take most of a minute."""
BETWEEN = 0.2
STARTED = {"running", "degraded"}
SSH_PORT = 22


def wait(container: str, address: str, *, seconds: float = STARTING) -> list[str]:
    """Wait for a host, and return its units that failed.

    Args:
        container: its container.
        address: where its sshd listens.
        seconds: how long it may take.

    Raises:
        BatonError: it took longer.
    """
    deadline = time.monotonic() + seconds
    while (state := _state(container, deadline)) not in STARTED:
        _give_up(container, f"systemd says {state or 'nothing'}", deadline)
    while not greets(address):
        _give_up(container, f"nothing that speaks ssh at {address}:{SSH_PORT}", deadline)
    return failed(container) if state == "degraded" else []


def greets(address: str) -> bool:
    """Return whether an sshd at ``address`` takes a connection and says its name."""
    try:
        with socket.create_connection((address, SSH_PORT), timeout=2) as connection:
            return connection.recv(16).startswith(b"SSH-")
    except OSError:
        return False


def failed(container: str) -> list[str]:
    """Return the names of the units that failed."""
    listed = attempt("exec", container, "systemctl", "list-units", "--failed", "--plain", "--no-legend")
    return [line.split()[0] for line in listed.stdout.decode().splitlines() if line.strip()]


def _state(container: str, deadline: float) -> str:
    # One call that returns when the host has started costs less than asking again and again.
    left = max(1.0, deadline - time.monotonic())
    asked = attempt("exec", container, "systemctl", "is-system-running", "--wait", seconds=left + 5)
    return asked.stdout.decode().strip()


def _give_up(container: str, found: str, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise BatonError(
            found=f"{container}: {found}",
            expected="a host that has started",
            fix=f"docker logs {container}; docker exec {container} journalctl -b",
        )
    time.sleep(BETWEEN)
