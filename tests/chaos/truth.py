"""What is true of an environment, asked of its programs and files directly; and what status.yml says of it."""

from __future__ import annotations

import json
import re
import urllib.request
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS, other

from tests.chaos.ground import Ground, Routing, Unit, lease

__all__ = ["Front", "Truth", "contradictions", "look"]

ASKED = 8
ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Front:
    """A load balancer: where it sends requests, and the versions that its users get."""

    name: str
    routing: Routing
    served: frozenset[str]


@dataclass(frozen=True)
class Truth:
    """What the load balancers do, what answers in each slot of each host, and who holds the lock."""

    fronts: tuple[Front, ...]
    hosts: tuple[str, ...]
    answering: dict[tuple[str, str], str]
    """The version that answers, by (host, slot); "" for none."""
    units: dict[tuple[str, str], Unit]
    """What supervises each slot, by (host, slot)."""
    lease: tuple[int, str]
    """Its token, and who holds it."""

    @property
    def live(self) -> str:
        """What is live at all load balancers; "" where they differ."""
        found = {front.routing.live for front in self.fronts}
        return found.pop() if len(found) == 1 else ""

    @property
    def served(self) -> frozenset[str]:
        """The versions that users get, wherever they ask."""
        return frozenset[str]().union(*(front.served for front in self.fronts))

    @property
    def shares(self) -> set[int]:
        """The shares of the clients that reach the other slot, but for none, in per cent."""
        return {front.routing.share for front in self.fronts} - {0}

    def versions(self, slot: str) -> set[str]:
        """Return the versions that answer in ``slot``; "" for a host where none does."""
        return {self.answering.get((host, slot), "") for host in self.hosts}

    def traffic(self, routing: Routing) -> str:
        """Return what status.yml has to say of a load balancer."""
        if routing.live in SLOTS:
            return f"{routing.live} ({self._all_of(routing.live)})"
        return "mixed, a rolling update is under way: " + ", ".join(
            f"{host} {slot}" + (f" ({self.answering[host, slot] or 'nothing'})" if slot in SLOTS else "")
            for host, slot in routing.seats
        )

    def beside(self, routing: Routing) -> str:
        """Return what status.yml has to say of a share in the slot that is not live."""
        if not routing.share:
            return ""
        slot = other(routing.live)
        return f"{routing.share} % of the clients reach {slot} ({self._all_of(slot)})"

    def _all_of(self, slot: str) -> str:
        versions = self.versions(slot)
        return versions.pop() if len(versions) == 1 else "different versions"


def look(ground: Ground) -> Truth:
    """Return what is true now."""
    slots = [(host, slot) for host in ground.apps for slot in SLOTS]
    lock = lease(ground)
    return Truth(
        fronts=tuple(_front(ground, name) for name in ground.balancers),
        hosts=ground.apps,
        answering={place: _version(ground.address(*place)) for place in slots},
        units={(host, slot): unit for host in ground.apps for slot, unit in ground.units(host).items()},
        lease=(lock["token"], lock["owner"]),
    )


def _front(ground: Ground, name: str) -> Front:
    url = ground.url(name)
    return Front(name, ground.routing(name), frozenset(_version(url) for _ in range(ASKED)))


def _version(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=ANSWER_SECONDS) as answer:
            return str(json.load(answer)["version"])
    except (OSError, ValueError, KeyError):
        return ""


def contradictions(status: str, truth: Truth) -> list[str]:
    """Return where the table of status.yml (its white space made single) does not say what is true."""
    slots = {
        (host, slot): found[1] if (found := re.search(rf"\b{slot}: (\S+) running", line)) else ""
        for line in status.splitlines()
        for host in truth.hosts
        for slot in SLOTS
        if f"{host} blue: " in line
    }
    wrong = [] if slots else ["status.yml shows no slots"]
    wrong += [
        f"status.yml says that {host} runs {said or 'nothing'} in {slot}, there answers {truth.answering[host, slot] or 'nothing'}"
        for host in truth.hosts
        for slot in SLOTS
        if (said := slots.get((host, slot), "")) != truth.answering[host, slot]
    ]
    for front in truth.fronts:
        wrong += _contradictions_of(front, status, truth)
    token, owner = truth.lease
    lock = f"lease {token} of {owner} since" if owner else f"lock free; lease {token} was the last"
    if lock not in status:
        wrong.append(f"status.yml does not say {lock!r}")
    return wrong


def _contradictions_of(front: Front, status: str, truth: Truth) -> list[str]:
    traffic, beside = f"{front.name}: {truth.traffic(front.routing)}", truth.beside(front.routing)
    said = next((line for line in status.splitlines() if traffic in line), None)
    if said is None:
        return [f"status.yml does not say {traffic!r}"]
    if beside not in said or (not beside and "% of the clients reach" in said):
        return [f"status.yml does not say of {front.name} {beside or 'that no share is left'!r}"]
    return []
