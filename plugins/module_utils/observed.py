# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What was found on the load balancers, the app hosts and in the journal: all that a plan is made from."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field

from ansible_collections.baton.release.plugins.module_utils.door import OPEN
from ansible_collections.baton.release.plugins.module_utils.server_states import MAINT, READY
from ansible_collections.baton.release.plugins.module_utils.slots import NOTHING_LIVE

__all__ = ["Facts", "Observed"]

SOON_SECONDS = 120
"""From the plan of a rollback until its lease has come to all app hosts, with much to spare."""

Facts = typing.Mapping[str, typing.Any]


@dataclass(frozen=True)
class Observed:
    """What was found. A balancer, host or journal that could not be asked is ``{"lost": reason}``."""

    balancers: typing.Mapping[str, Facts]
    hosts: typing.Mapping[str, Facts]
    journal: Facts
    excluded: typing.Mapping[str, str] = field(default_factory=dict)
    """The app hosts that this run leaves out, with the reason. They were not asked, and are not among ``hosts``."""

    def reachable(self) -> dict[str, Facts]:
        """Return the app hosts that answered."""
        return {name: host for name, host in self.hosts.items() if "lost" not in host}

    def lost(self) -> dict[str, str]:
        """Return the balancers and app hosts that did not answer, with the reason."""
        return {name: str(one["lost"]) for name, one in {**self.balancers, **self.hosts}.items() if "lost" in one}

    def live(self) -> set[str]:
        """Return what is live on the balancers that answered: one element when they agree."""
        return {str(one["live"]) for one in self.balancers.values() if "lost" not in one}

    def shares(self) -> dict[str, int]:
        """Return the balancers that send a share of the clients to the slot that is not live, with its per cent."""
        return {name: int(one["share"]) for name, one in self.balancers.items() if one.get("share")}

    def closed(self) -> dict[str, str]:
        """Return the balancers whose door is not open, or would not be after a restart, with what it is."""
        doors = {name: one.get("door", {}) for name, one in self.balancers.items()}
        told = {name: (str(door.get("state", OPEN)), str(door.get("unsettled", ""))) for name, door in doors.items()}
        return {
            name: ", ".join(filter(None, (state, unsettled)))
            for name, (state, unsettled) in told.items()
            if state != OPEN or unsettled
        }

    def not_ready(self) -> list[str]:
        """Return the servers that a balancer was told to leave out by somebody else than a release, in words."""
        return [
            f"{host} in {slot} at {name} ({state})"
            for name, slot, host, state in self._states()
            if state != READY and host not in self.excluded and host not in self._reasons(name, slot)
        ]

    def out(self, slot: str) -> list[str]:
        """Return the hosts of ``hosts`` whose server in ``slot`` a balancer was told to leave out."""
        told = {host for _name, where, host, state in self._states() if (where, state != READY) == (slot, True)}
        return sorted(told - set(self.excluded))

    def away(self, slot: str) -> dict[str, str]:
        """Return the hosts that a release has excluded from ``slot``, and none has brought back there, with the reason.

        Whatever runs in that slot of theirs counts for nothing, and must get no traffic. One balancer that says so is enough.
        """
        told = {host: why for name in self.balancers for host, why in self._reasons(name, slot).items()}
        return {host: why for host, why in sorted(told.items()) if host not in self.excluded}

    def can_exclude(self) -> list[str]:
        """Return the balancers that can hold a single server in maintenance."""
        return sorted(name for name, one in self.balancers.items() if one.get("server_states"))

    def holds(self, name: str, slot: str) -> dict[str, str]:
        """Return the hosts whose server in ``slot`` the balancer ``name`` holds in maintenance for a release, with the reason."""
        states = self.balancers[name].get("server_states", {}).get(slot, {})
        return {host: why for host, why in self._reasons(name, slot).items() if states.get(host) == MAINT}

    def _reasons(self, name: str, slot: str) -> dict[str, str]:
        return dict(self.balancers[name].get("excluded", {}).get(slot, {}))

    def _states(self) -> typing.Iterator[tuple[str, str, str, str]]:
        for name, one in self.balancers.items():
            for slot, states in one.get("server_states", {}).items():
                for host, state in states.items():
                    yield name, slot, host, state

    def seats(self, host: str) -> set[str]:
        """Return the slots that ``host`` answers from, seen from the balancers that answered; ``out`` where it is drained."""
        return {str(one["seats"][host]) for one in self.balancers.values() if host in one.get("seats", ())}

    def seatless(self) -> list[str]:
        """Return the balancers that answered but are not configured for seats."""
        return [
            name
            for name, one in self.balancers.items()
            if one.get("live", NOTHING_LIVE) != NOTHING_LIVE and not one["seats"]
        ]

    def holding(self, slot: str) -> dict[str, Facts]:
        """Return the app hosts that answered and whose ``slot`` counts."""
        away = self.away(slot)
        return {name: host for name, host in self.reachable().items() if name not in away}

    def versions(self, slot: str) -> set[str]:
        """Return the versions that ``slot`` holds on the app hosts that answered ("" where it holds nothing)."""
        return {str(host["slots"][slot]["version"]) for host in self.holding(slot).values()}

    def version(self, slot: str) -> str:
        """Return the one version that ``slot`` holds everywhere, or ""."""
        versions = self.versions(slot)
        return versions.pop() if len(versions) == 1 else ""

    def running(self, slot: str, version: str) -> bool:
        """Say whether ``slot`` runs ``version``, as it was last configured, on every app host that answered."""
        slots = [host["slots"][slot] for host in self.holding(slot).values()]
        return bool(slots) and all(one["current"] and one["version"] == version for one in slots)

    def retiring(self, slot: str) -> bool:
        """Say whether a host may stop ``slot`` by itself before anybody could keep it from that; it counts as stopped already."""
        slots = [host["slots"][slot] for host in self.holding(slot).values()]
        ends = [one.get("retires_in") for one in slots if one.get("timer")]
        return any(end is not None and end < SOON_SECONDS for end in ends)

    def overdue(self, slot: str) -> list[str]:
        """Return the hosts that run ``slot`` though its time is over."""
        slots = {name: host["slots"][slot] for name, host in self.holding(slot).items()}
        ends = {name: one.get("retires_in") for name, one in slots.items() if one["current"]}
        return sorted(name for name, end in ends.items() if end is not None and end <= 0)

    def hot_for(self, slot: str) -> int | None:
        """Return for how many seconds ``slot`` is sure to stay hot on all hosts; None for no such limit."""
        ends = [host["slots"][slot].get("retires_in") for host in self.holding(slot).values()]
        return min((max(0, end) for end in ends if end is not None), default=None)

    def verified(self, version: str) -> bool:
        """Say whether the journal, or the mark of the release itself on every host that has it, calls ``version`` proven."""
        marks = [mark for host in self.reachable().values() for mark in host["releases"] if mark["version"] == version]
        return version in self.journal.get("verified", ()) or bool(
            marks and all(mark.get("verified_at") for mark in marks)
        )

    def marked(self, version: str, slot: str) -> bool:
        """Say whether nothing is left to do for ``version`` in ``slot``: the journal and every host's release call it proven."""
        away = self.away(slot)
        marks = [
            mark for host in self.holding(slot).values() for mark in host["releases"] if mark["version"] == version
        ]
        marked = len(marks) == len(set(self.hosts) - set(away)) and all(mark.get("verified_at") for mark in marks)
        return marked and version in self.journal.get("verified", ())

    def newest_token(self) -> int:
        """Return the newest lease that any host has seen."""
        return max(
            (int(one.get("newest_token", 0)) for one in (*self.balancers.values(), *self.hosts.values())), default=0
        )

    def installed(self, version: str) -> dict[str, str]:
        """Return the app hosts that have ``version`` installed, with the SHA-256 of what it was installed from."""
        return {
            name: str(mark["sha256"])
            for name, host in self.reachable().items()
            for mark in host["releases"]
            if mark["version"] == version
        }
