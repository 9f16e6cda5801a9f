# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What one worker of a HAProxy has: the value in the map, and the servers of an app's backends."""

from __future__ import annotations

import csv
import re
import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.slots import OUT, SLOTS

__all__ = [
    "DRAINED",
    "IN_MAINTENANCE",
    "NOT_READY",
    "Server",
    "View",
    "admin_states",
    "hosts_of",
    "map_value",
    "seats_of",
    "servers",
]

IN_MAINTENANCE, DRAINED = 0x01, 0x08
NOT_READY = IN_MAINTENANCE | DRAINED
"""The flags of an admin state that somebody has set for the very server."""
_ADDRESS, _PORT, _ADMIN = 4, 18, 6
_NAME = 3
_FIELDS = 19


@dataclass(frozen=True)
class Server:
    """A server as one worker sees it; ``address`` is host:port, ``admin`` the flags of its admin state."""

    address: str
    admin: int
    status: str
    in_flight: int


@dataclass(frozen=True)
class View:
    """What one worker has; ``live`` and ``door`` are None where it looks no such map up, "" where the map has no such key."""

    live: str | None
    door: str | None
    backends: typing.Mapping[str, typing.Mapping[str, Server]]


def map_value(answer: str) -> str | None:
    """Return the value in an answer to ``get map``: "" when the key is not found, None when there is no such map."""
    if "found=no" in answer:
        return ""
    found = re.search(r'found=yes.* value="([^"]*)"', answer)
    return found[1] if found else None


def admin_states(text: str) -> dict[str, int]:
    """Return for each server in an answer to ``show servers state``, or in a file of that kind, the flags of its admin state."""
    return {
        words[_NAME]: int(words[_ADMIN])
        for words in map(str.split, text.splitlines())
        if len(words) >= _FIELDS and words[0].isdigit() and words[_ADMIN].isdigit()
    }


def servers(states: str, statistics: str) -> dict[str, dict[str, Server]]:
    """Return the servers of each backend, in the order of the configuration.

    Args:
        states: the answer to ``show servers state``.
        statistics: the answer to ``show stat``.

    Raises:
        ValueError: what HAProxy says makes no sense.
    """
    seen = {
        (row["# pxname"], row["svname"]): row
        for row in csv.DictReader(statistics.strip().splitlines())
        if row["svname"]
    }
    backends: dict[str, dict[str, Server]] = {}
    for words in map(str.split, states.splitlines()):
        row = seen.get((words[1], words[_NAME])) if len(words) >= _FIELDS else None
        if row is not None:
            host = f"[{words[_ADDRESS]}]" if ":" in words[_ADDRESS] else words[_ADDRESS]
            backends.setdefault(words[1], {})[words[_NAME]] = Server(
                f"{host}:{words[_PORT]}", int(words[_ADMIN]), row["status"], int(row["scur"] or 0)
            )
    return backends


def hosts_of(pool: typing.Mapping[str, Server]) -> dict[str, str]:
    """Return for each server of a slot's backend, by name, its host. It is named ``<host>_<port>``; before, it was ``<host>``."""
    return {name: name[: -len(end)] if name.endswith(end := _end(server)) else name for name, server in pool.items()}


def _end(server: Server) -> str:
    return f"_{server.address.rpartition(':')[2]}"


def seats_of(states: typing.Mapping[str, int]) -> tuple[dict[str, str], list[str]]:
    """Return for each host the slot that its share reaches or ``out``, and the hosts of which both slots are reached.

    ``states`` are the flags of the servers ``<host>_<slot>_<port>``. Of a host of which both are reached the first slot is returned.
    """
    ready: dict[str, list[str]] = {}
    for name, flags in states.items():
        host, slot, _port = name.rsplit("_", 2)
        ready.setdefault(host, []).extend([] if flags & NOT_READY else [slot])
    seats = {host: next((slot for slot in SLOTS if slot in found), OUT) for host, found in ready.items()}
    return seats, [host for host, found in ready.items() if len(found) > 1]
