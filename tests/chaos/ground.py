"""Where the truth is read from: the hosts of an environment, asked directly and never through the collection.

``directories`` asks an embedded environment, ``tests.fleet.machines`` a fleet over ssh.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, Protocol

__all__ = ["Ground", "Place", "Routing", "Unit", "fence", "journal", "lease"]

Place = Literal["app", "state"]
"""A directory on a host: of the app, or of what the collection keeps about it."""


@dataclass(frozen=True)
class Routing:
    """Where a load balancer sends requests, as it has it itself."""

    word: str
    """The live slot, ``mixed``, ``none``, or ``blue:green:30`` while 30 % of the clients reach green."""
    begins: str
    """The word with which it would begin after a restart."""
    seats: tuple[tuple[str, str], ...] = ()
    """While live is ``mixed``: (host, slot) of each server that requests reach; the slot is "out" for a host without one."""

    @property
    def live(self) -> str:
        """The slot that is live, ``mixed`` or ``none``."""
        return self.word.partition(":")[0]

    @property
    def share(self) -> int:
        """Per cent of the clients that reach the other slot."""
        return int(self.word.rpartition(":")[2]) if ":" in self.word else 0


@dataclass(frozen=True)
class Unit:
    """Whether a slot is run by what supervises it, and would be after a reboot."""

    runs: bool
    returns: bool


class Ground(Protocol):
    """The hosts of one environment, by their names in its inventory."""

    apps: tuple[str, ...]
    balancers: tuple[str, ...]
    """The first one keeps the lock and the journal."""
    paths: tuple[str, ...]
    """What users ask for."""

    @property
    def database(self) -> str:
        """The URL of the app's database."""

    def url(self, balancer: str) -> str:
        """Return where users reach a load balancer."""

    def address(self, host: str, slot: str) -> str:
        """Return the URL at which a slot answers itself."""

    def routing(self, balancer: str) -> Routing:
        """Return where a load balancer sends requests."""

    def units(self, host: str) -> dict[str, Unit]:
        """Return for each slot of a host what supervises it says."""

    def text(self, host: str, place: Place, path: str) -> str:
        """Return what a file on a host holds; nothing where there is none."""


def lease(ground: Ground) -> dict[str, Any]:
    """Return the lock."""
    found: dict[str, Any] = json.loads(ground.text(ground.balancers[0], "state", "lease.json"))
    return found


def journal(ground: Ground) -> list[dict[str, Any]]:
    """Return the events of the journal, the oldest first."""
    return [json.loads(line) for line in ground.text(ground.balancers[0], "state", "journal.jsonl").splitlines()]


def fence(ground: Ground, host: str) -> int:
    """Return the newest token that a host has seen, 0 for none."""
    return int(json.loads(ground.text(host, "state", "fence.json") or "{}").get("token", 0))
