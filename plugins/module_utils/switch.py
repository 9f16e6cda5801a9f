# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The switch of one load balancer: a compare-and-swap of where its traffic goes.

``switch.json`` in the state directory says how the live slot came to be; it is written first, and believed only while it agrees with
what the balancer does.
"""

from __future__ import annotations

import time
import typing
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils import exclusions, seats
from ansible_collections.baton.release.plugins.module_utils.door import Door
from ansible_collections.baton.release.plugins.module_utils.drain import await_idle
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.fence import fenced, newest_token
from ansible_collections.baton.release.plugins.module_utils.files import read_json, write_json
from ansible_collections.baton.release.plugins.module_utils.routing import WHOLE, Routing
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, NOTHING_LIVE, SLOTS, other

__all__ = ["Balancer", "Wanted", "observe", "switch"]

POLL_SECONDS = 0.2


class Balancer(typing.Protocol):
    """What a driver does for one load balancer."""

    def pools(self) -> dict[str, typing.Any] | None:
        """Return ``{slot: {servers, hosts, up, in_flight}}``; None when the balancer does not answer.

        ``servers`` and ``hosts`` are parallel; ``hosts`` is empty when the balancer has no seats. ``up`` are the servers that the
        balancer itself holds to be up, ``in_flight`` counts the requests at each server.
        """

    def in_flight(self) -> dict[str, int] | None:
        """Return the number of requests at each server that has any; None when the balancer does not answer."""

    def routing(self, pools: seats.Pools) -> Routing:
        """Return where requests go, as the balancer itself has it; ``pools`` is what it answered before, empty when it did not.

        Raises:
            BatonError: what it says, or what it would begin with after a restart, makes no sense.
        """

    def route(self, before: Routing, after: Routing, pools: seats.Pools) -> None:
        """Have requests go where ``after`` says, now and after a restart of the balancer, and see that they do.

        Raises:
            BatonError: the balancer did not do it.
        """

    def door(self) -> Door:
        """Return whether users' requests are let in, as the balancer itself has it.

        Raises:
            BatonError: what it says makes no sense.
        """

    def refuse_door(self, after: Door) -> None:
        """Refuse a door that this balancer, as it runs now, cannot have.

        Raises:
            BatonError: it cannot.
        """

    def move_door(self, after: Door) -> None:
        """Have the door so, now and after a restart of the balancer, and see that it is.

        Raises:
            BatonError: the balancer did not do it.
        """

    def server_states(self) -> dict[str, dict[str, str]]:
        """Return for each slot the state of each host's server; empty when the balancer has no such states, or is silent."""

    def warnings(self) -> list[str]:
        """Return what a person should know of how this balancer is reached, a sentence or two each."""


@dataclass(frozen=True)
class Wanted:
    """The wanted state of one balancer."""

    slot: str
    """What is to be live: a slot, or ``mixed``."""
    expected: str | None = None
    """What must be live now; None for whatever it is."""
    share: int = WHOLE
    """Per cent of the clients that are to reach ``slot``; below 100 the slot that is live stays so."""
    seats: typing.Mapping[str, str] = field(default_factory=dict)
    """For ``mixed``: the slot, or ``out``, of the hosts that change; every other host keeps what it has."""
    min_up: int = 1
    """Servers that the balancer must report up among those that get traffic then, in each slot that has a share; 0 asks nothing."""
    wait: float = 15.0
    """Seconds for them to be up."""
    drain: float = 0.0
    """Seconds in which requests may end at the servers that get no more of them."""


def observe(balancer: Balancer, state_dir: str | Path) -> dict[str, typing.Any]:
    """Return what is live, what was before, the seats, the door, and the state of the pools and of each server.

    Raises:
        BatonError: what is live is not one of what can be.
    """
    pools = balancer.pools()
    routing = balancer.routing(pools or {})
    states = balancer.server_states()
    return {
        "live": routing.live,
        "share": routing.share,
        "previous": _previous(Path(state_dir), routing.live),
        "newest_token": newest_token(state_dir),
        "answering": pools is not None,
        "pools": pools or {},
        "seats": dict(routing.seats),
        "door": balancer.door().as_result(),
        "server_states": states,
        "excluded": exclusions.excluded(Path(state_dir), states),
    }


def switch(
    balancer: Balancer, wanted: Wanted, *, state_dir: str | Path, token: int | None, check_mode: bool = False
) -> dict[str, typing.Any]:
    """Bring this balancer to ``wanted``; return ``observe``'s keys, ``changed``, ``diff`` and ``draining``.

    Raises:
        BatonError: something else than expected is live, the lease is not the newest one, or the servers are not up.
    """
    directory = Path(state_dir)
    pools = _await_up(balancer, wanted)
    with fenced(directory, token, check_mode=check_mode):
        before = balancer.routing(pools)
        _refuse_unexpected(before, wanted, directory, token)
        after = _after(before, wanted)
        changed = not before.same(after)
        if changed and not check_mode:
            _record(directory, before, after, token)
            balancer.route(before, after, pools)
    left = _left(before, after, pools) if wanted.slot == MIXED or wanted.drain else set()
    draining = await_idle(balancer, left, 0 if check_mode else wanted.drain)
    result = observe(balancer, directory)
    return {
        **result,
        "changed": changed,
        "live": after.live,
        "share": after.share,
        "seats": dict(after.seats) or dict.fromkeys(result["seats"], after.live),
        "draining": draining,
        "diff": {"before": before.as_text(), "after": after.as_text()},
    }


def _after(before: Routing, wanted: Wanted) -> Routing:
    if wanted.slot == MIXED:
        _refuse_share(before)
        return Routing(MIXED, seats.seated(before.seats, wanted.seats))
    if wanted.share == WHOLE:
        return Routing(wanted.slot)
    if before.live != other(wanted.slot):
        raise BatonError(
            found=f"{before.live} is live on this load balancer",
            expected=f"{other(wanted.slot)}, so that {wanted.share} % of the clients can reach {wanted.slot}",
            fix="somebody else has switched; look at status.yml, and run again to plan from what is live now",
            live=before.live,
            share=before.share,
        )
    return Routing(before.live, before.seats, wanted.share)


def _refuse_share(before: Routing) -> None:
    """Refuse to begin a rolling update beside a share: then nobody could say any more who reaches what."""
    if before.share:
        raise BatonError(
            found=f"{before.share} % of the clients reach {other(before.live)}, while {before.live} is live",
            expected="no share of the clients in the other slot when a rolling update begins",
            fix=f"take the share back first (slot {other(before.live)}, share 0), or run rollback.yml",
            live=before.live,
            share=before.share,
        )


def _refuse_unexpected(before: Routing, wanted: Wanted, directory: Path, token: int | None) -> None:
    ours = token is not None and (read_json(directory / "switch.json") or {}).get("token") == token
    if wanted.expected in (None, before.live) or (before.live == wanted.slot and ours):
        return
    raise BatonError(
        found=f"{before.live} is live on this load balancer",
        expected=f"{wanted.expected} to be live when it is switched to {wanted.slot}",
        fix="somebody else has switched; look at status.yml, and run again to plan from what is live now",
        live=before.live,
        share=before.share,
    )


def _record(directory: Path, before: Routing, after: Routing, token: int | None) -> None:
    if before.live != after.live:
        previous = _previous(directory, before.live) if before.live == MIXED else before.live
        write_json(directory / "switch.json", {"from": previous, "to": after.live, "token": token, "at": time.time()})


def _await_up(balancer: Balancer, wanted: Wanted) -> seats.Pools:
    """Wait until the balancer itself reports enough servers up of those that get traffic then; return its pools.

    A server that is new among them must be up in any case. With ``min_up`` 0 nothing is asked.
    """
    deadline = time.monotonic() + wanted.wait
    while True:
        pools = balancer.pools()
        if wanted.min_up == 0 and wanted.slot != MIXED:
            return pools or {}
        serving, required = ({}, set[str]()) if pools is None else _serving(balancer, wanted, pools)
        every = {server for pool in (pools or {}).values() for server in pool["up"]}
        up = {where: [server for server in servers if server in every] for where, servers in serving.items()}
        short = [where for where in serving if len(up[where]) < wanted.min_up]
        missing = sorted(required - every)
        if pools is not None and not short and not missing:
            return pools
        if time.monotonic() >= deadline:
            where = next(iter([*short, *serving]), wanted.slot)
            seen = "the load balancer does not answer" if pools is None else f"it reports {up[where] or 'no server'} up"
            silent = [server for server in serving.get(where, ()) if server not in up[where]]
            now = balancer.routing(pools or {})
            raise BatonError(
                found=f"{seen} of {serving.get(where, [])} that would serve in {where}"
                + (f", and not {_named(silent, pools or {})}" if up.get(where) and silent else ""),
                expected=f"at least {wanted.min_up} servers up within {wanted.wait:g} s before traffic moves there"
                + (f", and among them {', '.join(missing)}" if missing else ""),
                fix="nothing was switched; look at the health of these servers as the load balancer sees it, and at its own log",
                pools=pools or {},
                live=now.live,
                share=now.share,
            )
        time.sleep(POLL_SECONDS)


def _serving(balancer: Balancer, wanted: Wanted, pools: seats.Pools) -> tuple[dict[str, list[str]], set[str]]:
    """Return for each slot (or ``mixed``) that gets traffic when this is done its servers, and those of all that are new."""
    if wanted.slot in SLOTS:
        slots = [wanted.slot] if wanted.share else []
        slots += [other(wanted.slot)] if wanted.share < WHOLE else []
        return {slot: list(pools.get(slot, {}).get("servers", ())) for slot in slots}, set()
    before = balancer.routing(pools).seats
    after = seats.seated(before, wanted.seats)
    serving = seats.servers_in(after, pools)
    return {MIXED: list(serving.values())}, {serving[host] for host in serving if after[host] != before[host]}


def _named(servers: typing.Sequence[str], pools: seats.Pools) -> str:
    """Return the servers in words, each with its host where the balancer says that."""
    hosts = {server: host for pool in pools.values() for host, server in zip(pool["hosts"], pool["servers"])}
    return ", ".join(f"{hosts[server]} at {server}" if server in hosts else server for server in servers)


def _left(before: Routing, after: Routing, pools: seats.Pools) -> set[str]:
    """Return the servers that get no more requests."""
    if after.live != MIXED:
        return set() if after.share else {*pools.get(other(after.live), {}).get("servers", ())}
    serving = seats.servers_in(before.seats, pools)
    return {address for host, address in serving.items() if after.seats.get(host) != before.seats[host]}


def _previous(directory: Path, live: str) -> str:
    record = read_json(directory / "switch.json") or {}
    return str(record["from"]) if record.get("to") == live else NOTHING_LIVE
