"""What is true of an environment, asked of its programs and files directly; and what status.yml says of it."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS, other

from tests.e2e.environment import APP_HOSTS, Environment

__all__ = ["Truth", "contradictions", "look"]

ASKED = 8
ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Truth:
    """The slot in the load balancer's file, the versions that users get, and what answers in each slot of each host."""

    live: str
    served: frozenset[str]
    answering: tuple[tuple[str, str, str], ...]
    """(host, slot, version) of each slot that answers."""
    seats: tuple[tuple[str, str], ...]
    """(host, slot) of the servers that a rolling update under way has traffic at; the slot is "out" for a host without one."""
    share: int
    """Per cent of the clients that reach the other slot."""
    lease: tuple[int, str]
    """Its token, and who holds it."""

    def versions(self, slot: str) -> set[str]:
        """Return the versions that answer in ``slot``; "" for a host where none does."""
        found = {host: version for host, its, version in self.answering if its == slot}
        return {found.get(host, "") for host in APP_HOSTS}

    @property
    def beside(self) -> str:
        """What status.yml has to say of a share in the slot that is not live."""
        if not self.share:
            return ""
        versions = self.versions(other(self.live))
        version = versions.pop() if len(versions) == 1 else "different versions"
        return f"{self.share} % of the clients reach {other(self.live)} ({version})"

    @property
    def traffic(self) -> str:
        """What status.yml has to say of the load balancer."""
        if self.live not in SLOTS:
            answering = {(host, slot): version for host, slot, version in self.answering}
            return "mixed, a rolling update is under way: " + ", ".join(
                f"{host} {slot}" + (f" ({answering.get((host, slot), 'nothing')})" if slot in SLOTS else "")
                for host, slot in self.seats
            )
        versions = self.versions(self.live)
        return f"{self.live} ({versions.pop() if len(versions) == 1 else 'different versions'})"


def look(shop: Environment) -> Truth:
    """Return what is true now."""
    ports = json.loads((shop.root / "ports.json").read_text())
    places = [(host, slot, f"http://127.0.0.1:{ports[host][slot]}") for host in APP_HOSTS for slot in SLOTS]
    lease, live = shop.lease(), shop.live()
    return Truth(
        live=live,
        served=frozenset(_version(shop.url) for _ in range(ASKED)),
        answering=tuple((host, slot, version) for host, slot, url in places if (version := _version(url))),
        seats=tuple((host, _seat(shop, host, ports[host])) for host in APP_HOSTS) if live not in SLOTS else (),
        share=shop.share(),
        lease=(lease["token"], lease["owner"]),
    )


def _seat(shop: Environment, host: str, ports: dict[str, int]) -> str:
    seat = (shop.state("lb1") / "seats" / host).read_text()
    return next((slot for slot in SLOTS if seat.endswith(f":{ports[slot]}")), "out")


def _version(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=ANSWER_SECONDS) as answer:
            return str(json.load(answer)["version"])
    except (OSError, ValueError, KeyError):
        return ""


def contradictions(status: str, truth: Truth) -> list[str]:
    """Return where the table of status.yml (its white space made single) does not say what is true."""
    slots = {
        (host, slot): found[1] if (found := re.search(rf"{host} .*?\b{slot}: (\S+) running", line)) else ""
        for line in status.splitlines()
        for host in APP_HOSTS
        for slot in SLOTS
        if re.search(rf"\b{host} blue: ", line)
    }
    wrong = [] if slots else ["status.yml shows no slots"]
    answering = {(host, slot): version for host, slot, version in truth.answering}
    wrong += [
        f"status.yml says that {host} runs {said or 'nothing'} in {slot}, there answers {answering.get((host, slot), 'nothing')}"
        for (host, slot), said in slots.items()
        if said != answering.get((host, slot), "")
    ]
    if f"lb1: {truth.traffic}" not in status:
        wrong.append(f"status.yml does not say 'lb1: {truth.traffic}'")
    if truth.beside not in status or (not truth.beside and "% of the clients reach" in status):
        wrong.append(f"status.yml does not say {truth.beside or 'that no share is left'!r}")
    token, owner = truth.lease
    lock = f"lease {token} of {owner} since" if owner else f"lock free; lease {token} was the last"
    if lock not in status:
        wrong.append(f"status.yml does not say {lock!r}")
    return wrong
