# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The switch of one load balancer: a compare-and-swap of the slot that traffic reaches.

The file ``live`` in the state directory holds the name of the live slot, or ``mixed``, and nothing else; the balancer looks it up at
every request. ``switch.json`` beside it says how it came to be; it is written first, and believed only while it agrees with ``live``.
"""

from __future__ import annotations

import time
import typing
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils import seats
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.fence import fenced, newest_token
from ansible_collections.baton.release.plugins.module_utils.files import (
    read_json,
    read_text,
    write_atomically,
    write_json,
)
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, NOTHING_LIVE, SLOTS

__all__ = ["Balancer", "Wanted", "observe", "switch"]

POLL_SECONDS = 0.2
SEATS_SEEN_SECONDS = 2.5
"""A balancer looks once a second at what a seat leads to (role caddy)."""


class Balancer(typing.Protocol):
    """What a driver answers for one load balancer."""

    def pools(self) -> dict[str, typing.Any] | None:
        """Return ``{slot: {servers, hosts, up, in_flight}}``; None when the balancer does not answer.

        ``servers`` and ``hosts`` are parallel; ``hosts`` is empty when the balancer has no seats. ``up`` are the servers that the
        balancer itself holds to be up, ``in_flight`` counts the requests at each server.
        """

    def in_flight(self) -> dict[str, int] | None:
        """Return the number of requests at each server that has any; None when the balancer does not answer."""


@dataclass(frozen=True)
class Wanted:
    """The wanted state of one balancer."""

    slot: str
    """What is to be live: a slot, or ``mixed``."""
    expected: str | None = None
    """What must be live now; None for whatever it is."""
    seats: typing.Mapping[str, str] = field(default_factory=dict)
    """For ``mixed``: the slot, or ``out``, of the hosts that change; every other host keeps what it has."""
    min_up: int = 1
    """Servers that the balancer must report up among those that get traffic then; 0 asks nothing."""
    wait: float = 15.0
    """Seconds for them to be up."""
    drain: float = 0.0
    """Seconds in which requests may end at the servers that get no more of them."""


def observe(balancer: Balancer, state_dir: str | Path) -> dict[str, typing.Any]:
    """Return what is live, what was before, the seats, and the state of the pools.

    Raises:
        BatonError: the file that holds the live slot holds something else.
    """
    directory = Path(state_dir)
    live, pools = _live(directory), balancer.pools()
    return {
        "live": live,
        "previous": _previous(directory, live),
        "newest_token": newest_token(state_dir),
        "answering": pools is not None,
        "pools": pools or {},
        "seats": seats.read_seats(directory, pools or {}, live),
    }


def switch(
    balancer: Balancer, wanted: Wanted, *, state_dir: str | Path, token: int | None, check_mode: bool = False
) -> dict[str, typing.Any]:
    """Bring this balancer to ``wanted``; return ``observe``'s keys, ``changed``, ``diff`` and ``draining``.

    Raises:
        BatonError: something else than expected is live, the lease is not the newest one, or the servers are not up.
    """
    directory = Path(state_dir)
    pools = _await_up(balancer, wanted, directory)
    with fenced(directory, token, check_mode=check_mode):
        live = _live(directory)
        before = seats.read_seats(directory, pools, live)
        after = seats.seated(before, wanted.seats) if wanted.slot == MIXED else {}
        changed = _must_change(live, wanted, directory, token) or (wanted.slot == MIXED and before != after)
        if changed and not check_mode:
            if live in SLOTS and wanted.slot == MIXED:
                _have_seats_seen(directory, seats.seat(before, pools))
            seats.write_seats(directory, seats.seat(after, pools))
            _make_live(directory, live, wanted.slot, token)
            # For the next update: a seat that leads to what is stopped meanwhile would count as down.
            whole = {} if wanted.slot == MIXED else seats.read_seats(directory, pools, wanted.slot)
            seats.write_seats(directory, seats.seat(whole, pools))
    left = {address for host, address in seats.servers_in(before, pools).items() if after.get(host) != before[host]}
    draining = _drain(balancer, left, 0 if check_mode else wanted.drain) if wanted.slot == MIXED else {}
    result = observe(balancer, directory)
    return {
        **result,
        "changed": changed,
        "live": wanted.slot,
        "seats": after or dict.fromkeys(result["seats"], wanted.slot),
        "draining": draining,
        "diff": {"before": _text(live, before), "after": _text(wanted.slot, after)},
    }


def _must_change(live: str, wanted: Wanted, directory: Path, token: int | None) -> bool:
    ours = token is not None and (read_json(directory / "switch.json") or {}).get("token") == token
    if wanted.expected in (None, live) or (live == wanted.slot and ours):
        return live != wanted.slot
    raise BatonError(
        found=f"{live} is live on this load balancer",
        expected=f"{wanted.expected} to be live when it is switched to {wanted.slot}",
        fix="somebody else has switched; look at status.yml, and run again to plan from what is live now",
        live=live,
    )


def _have_seats_seen(directory: Path, addresses: typing.Mapping[str, str]) -> None:
    """Have the seats lead to what is live before they count: the balancer uses none that it holds to be down.

    They do already, but for a run that was killed at the switch, or a balancer that had no seats then.
    """
    if seats.write_seats(directory, addresses):
        time.sleep(SEATS_SEEN_SECONDS)


def _make_live(directory: Path, live: str, slot: str, token: int | None) -> None:
    if live != slot:
        previous = _previous(directory, live) if live == MIXED else live
        write_json(directory / "switch.json", {"from": previous, "to": slot, "token": token, "at": time.time()})
        write_atomically(directory / "live", slot)


def _await_up(balancer: Balancer, wanted: Wanted, directory: Path) -> seats.Pools:
    """Wait until the balancer itself reports enough servers up of those that get traffic then; return its pools.

    A server that is new among them must be up in any case. With ``min_up`` 0 nothing is asked.
    """
    deadline = time.monotonic() + wanted.wait
    while True:
        pools = balancer.pools()
        if wanted.min_up == 0 and wanted.slot != MIXED:
            return pools or {}
        serving, required = _serving(wanted, pools, directory)
        up = [server for server in serving if any(server in pool["up"] for pool in (pools or {}).values())]
        if pools is not None and len(up) >= wanted.min_up and required <= {*up}:
            return pools
        if time.monotonic() >= deadline:
            seen = "the load balancer does not answer" if pools is None else f"it reports {up or 'no server'} up"
            missing = sorted(required - {*up})
            raise BatonError(
                found=f"{seen} of {serving} that would serve in {wanted.slot}",
                expected=f"at least {wanted.min_up} servers up within {wanted.wait:g} s before traffic moves there"
                + (f", and among them {', '.join(missing)}" if missing else ""),
                fix="nothing was switched; look at the health of these servers as the load balancer sees it, and at its own log",
                pools=pools or {},
                live=_live(directory),
            )
        time.sleep(POLL_SECONDS)


def _serving(wanted: Wanted, pools: seats.Pools | None, directory: Path) -> tuple[list[str], set[str]]:
    """Return the servers that get traffic when this is done, and those of them that are new."""
    if pools is None:
        return [], set()
    if wanted.slot in SLOTS:
        return list(pools.get(wanted.slot, {}).get("servers", ())), set()
    before = seats.read_seats(directory, pools, _live(directory))
    after = seats.seated(before, wanted.seats)
    serving = seats.servers_in(after, pools)
    return list(serving.values()), {serving[host] for host in serving if after[host] != before[host]}


def _drain(balancer: Balancer, servers: set[str], seconds: float) -> dict[str, int | None]:
    """Wait until no request is left at ``servers``; return those that have some after ``seconds``, with the number if it is known."""
    deadline = time.monotonic() + seconds
    while True:
        counts = balancer.in_flight()
        busy = {
            server: counts.get(server) if counts else None
            for server in sorted(servers)
            if counts is None or counts.get(server)
        }
        if not busy or time.monotonic() >= deadline:
            return busy
        time.sleep(POLL_SECONDS)


def _live(directory: Path) -> str:
    text = read_text(directory / "live")
    slot = NOTHING_LIVE if text is None else text.strip()
    if slot not in (*SLOTS, MIXED, NOTHING_LIVE):
        raise BatonError(
            found=f"{directory / 'live'} holds {slot[:40]!r}",
            expected=f"one of {', '.join((*SLOTS, MIXED))}",
            fix="find out who wrote it, then run rollback.yml or lb_switch without expected",
        )
    return slot


def _previous(directory: Path, live: str) -> str:
    record = read_json(directory / "switch.json") or {}
    return str(record["from"]) if record.get("to") == live else NOTHING_LIVE


def _text(live: str, seating: typing.Mapping[str, str]) -> str:
    return live + "".join(f" {host}={slot}" for host, slot in seating.items() if live == MIXED) + "\n"
