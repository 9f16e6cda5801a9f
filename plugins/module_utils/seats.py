# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The seats: while live is ``mixed``, which server of each app host a load balancer sends that host's share of requests to.

A seat is a file ``seats/<host>`` in the state directory with the address of one server and nothing else; the balancer looks it up
at every request. A host that is out (drained, while its only server is replaced) has its share sent to another host's server, so
that every seat leads somewhere at any instant.
"""

from __future__ import annotations

import itertools
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text, write_atomically
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, OUT, SLOTS

__all__ = ["Pools", "prepare_seats", "read_seats", "seat", "seated", "servers_in", "servers_of", "write_seats"]

Pools = typing.Mapping[str, typing.Mapping[str, typing.Any]]
Seats = typing.Mapping[str, str]


def servers_of(pools: Pools) -> dict[str, dict[str, str]]:
    """Return for each app host its server in each slot, as the balancer knows them; empty where it has no seats.

    A pool that lacks a server, which somebody took out by hand, has none either: whose servers are left is not known.
    """
    hosts = pools.get(SLOTS[0], {}).get("hosts", ())
    if any(len(pool["servers"]) != len(hosts) for pool in pools.values()):
        return {}
    return {host: {slot: pools[slot]["servers"][index] for slot in SLOTS} for index, host in enumerate(hosts)}


def read_seats(directory: Path, pools: Pools, live: str) -> dict[str, str]:
    """Return for each app host the slot that its requests reach now, or ``out``; empty when nothing is live or seats are unknown."""
    servers = servers_of(pools)
    if live in SLOTS:
        return dict.fromkeys(servers, live)
    if live != MIXED:
        return {}
    slots = {address: slot for own in servers.values() for slot, address in own.items()}
    found = {host: (read_text(directory / "seats" / host) or "").strip() for host in servers}
    return {host: slots[found[host]] if found[host] in own.values() else OUT for host, own in servers.items()}


def seated(seats: Seats, changes: Seats) -> dict[str, str]:
    """Return ``seats`` with ``changes``, each of them for a host that has a seat.

    Raises:
        BatonError: the balancer has no seats, or none for a host of ``changes``, or no host would be left in.
    """
    strangers = sorted(set(changes) - set(seats))
    if strangers:
        raise BatonError(
            found=f"this load balancer has {'seats for ' + ', '.join(seats) if seats else 'no seats'}, none for {', '.join(strangers)}",
            expected="one for each app host, and a live slot to begin from",
            fix="render the load balancer's configuration again (role caddy), or release with blue_green",
        )
    after = {**seats, **changes}
    if all(slot == OUT for slot in after.values()):
        raise BatonError(
            found="every app host would be out",
            expected="at least one host that serves",
            fix="lower release_max_unavailable, or set release_max_surge",
        )
    return after


def servers_in(seats: Seats, pools: Pools) -> dict[str, str]:
    """Return for each host that is in the server that its requests reach."""
    servers = servers_of(pools)
    return {host: servers[host][slot] for host, slot in seats.items() if slot != OUT}


def seat(seats: Seats, pools: Pools) -> dict[str, str]:
    """Return for each host the address that its seat holds: its own server, or in turn those of the others while it is out."""
    serving = servers_in(seats, pools)
    substitutes = itertools.cycle(serving.values())
    return {host: serving.get(host) or next(substitutes) for host in seats}


def write_seats(directory: Path, addresses: Seats) -> bool:
    """Have each seat hold its address; what it holds already is not written again. Say whether any was written."""
    other = {host: address for host, address in addresses.items() if read_text(directory / "seats" / host) != address}
    for host, address in other.items():
        write_atomically(directory / "seats" / host, address)
    return bool(other)


def prepare_seats(directory: Path, addresses: Seats, *, check_mode: bool) -> bool:
    """Give each host a seat that has none yet, so that the balancer can look it up; say whether any was missing."""
    missing = {host: address for host, address in addresses.items() if not (directory / "seats" / host).exists()}
    if not check_mode:
        write_seats(directory, missing)
    return bool(missing)
