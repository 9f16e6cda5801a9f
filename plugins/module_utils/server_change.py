# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The change of the states of one load balancer's servers.

They are absolute, so there is nothing to compare with but the newest lease: what is so already is no change.
"""

from __future__ import annotations

import time
import typing
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils import exclusions, seats
from ansible_collections.baton.release.plugins.module_utils.drain import await_idle
from ansible_collections.baton.release.plugins.module_utils.endpoints import parse_endpoint
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.fence import fenced
from ansible_collections.baton.release.plugins.module_utils.probe import observe as ask
from ansible_collections.baton.release.plugins.module_utils.routing import Routing
from ansible_collections.baton.release.plugins.module_utils.server_states import MAINT, READY, States
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, SLOTS, other
from ansible_collections.baton.release.plugins.module_utils.switch import Balancer, observe

__all__ = ["StatefulBalancer", "WantedStates", "put_states"]

POLL_SECONDS = 0.2
PROBE_SECONDS = 2.0
_LARGEST_ANSWER = 1 << 16
_OK = 200


class StatefulBalancer(Balancer, typing.Protocol):
    """A load balancer that can have each of its servers in another state, without a reload."""

    def unsettled_states(self, slot: str) -> str:
        """Say what of these states is other elsewhere than the balancer has it now, for instance after a restart."""

    def refuse_states(self) -> None:
        """Refuse to change states where this balancer, as it runs now, would not keep them.

        Raises:
            BatonError: it would not.
        """

    def put_states(self, slot: str, states: States) -> None:
        """Have servers of a slot in these states, now and after a restart of the balancer, and see that they are.

        Raises:
            BatonError: the balancer did not do it.
        """


@dataclass(frozen=True)
class WantedStates:
    """The wanted states of servers of one slot."""

    slot: str
    states: States = field(default_factory=dict)
    """Host to state; every other host keeps what it has."""
    reasons: exclusions.Reasons = field(default_factory=dict)
    """Why a release excludes them, of hosts that are put into maintenance."""
    health_path: str = "/"
    """What a server must answer with 200 before it is ready again."""
    min_up: int = 1
    """Servers that must be left up among those that get traffic; 0 asks nothing, neither that nor whether a server is healthy."""
    wait: float = 15.0
    """Seconds for a server that is to be ready to be healthy, and then to be up."""
    drain: float = 0.0
    """Seconds in which requests may end at the servers that get no more of them."""


def put_states(
    balancer: StatefulBalancer,
    wanted: WantedStates,
    *,
    state_dir: str | Path,
    token: int | None,
    check_mode: bool = False,
) -> dict[str, typing.Any]:
    """Have servers of a slot as ``wanted``; return ``observe``'s keys, ``changed``, ``diff`` and ``draining``.

    Raises:
        BatonError: the lease is not the newest one, the balancer cannot do it, a server that is to be ready is not healthy, or too few
            would be left.
    """
    servers = _servers_of(balancer, wanted)
    balancer.refuse_states()
    changing = _differing(_states(balancer, wanted), wanted.states)
    _await_healthy([servers[host] for host in changing if wanted.states[host] == READY], wanted)
    _await_enough(balancer, wanted, servers, wait=wanted.wait)
    with fenced(state_dir, token, check_mode=check_mode):
        before = _states(balancer, wanted)
        after = {**before, **wanted.states}
        unsettled = balancer.unsettled_states(wanted.slot)
        noted = exclusions.noted(Path(state_dir), wanted.slot)
        reasons = _reasons(noted, before, wanted)
        _await_enough(balancer, wanted, servers, wait=0)
        changed = before != after or bool(unsettled) or reasons != noted
        if changed and not check_mode:
            # Cut off in between, a note too many counts for nothing; a server without its note would be nobody's to bring back.
            exclusions.note(Path(state_dir), wanted.slot, {**noted, **reasons})
            if before != after or unsettled:
                balancer.put_states(wanted.slot, after)
            exclusions.note(Path(state_dir), wanted.slot, reasons)
    if not check_mode:
        returned = [host for host in _differing(before, wanted.states) if wanted.states[host] == READY]
        _await_up(balancer, {servers[host] for host in returned}, wanted)
    quiet = {servers[host] for host, state in wanted.states.items() if state != READY}
    draining = await_idle(balancer, quiet, 0 if check_mode else wanted.drain)
    result = observe(balancer, state_dir)
    return {
        **result,
        "changed": changed,
        "server_states": {**result["server_states"], wanted.slot: after},
        "excluded": {**result["excluded"], wanted.slot: reasons},
        "draining": draining,
        "diff": {"before": _as_text(before, noted, unsettled), "after": _as_text(after, reasons)},
    }


def _servers_of(balancer: StatefulBalancer, wanted: WantedStates) -> dict[str, str]:
    """Return the address of each host's server in the slot.

    Raises:
        BatonError: the balancer is silent, or has no server for a host that is named.
    """
    pools = balancer.pools()
    if pools is None:
        raise _silent()
    servers = dict(zip(_states(balancer, wanted), pools[wanted.slot]["servers"]))
    strangers = sorted(set(wanted.states) - set(servers))
    if strangers:
        raise BatonError(
            found=f"in {wanted.slot} this load balancer has servers of {', '.join(servers) or 'nobody'}, none of {', '.join(strangers)}",
            expected="a server for each host that is named",
            fix="correct server_states, or render the load balancer's configuration again; nothing was changed",
        )
    return servers


def _states(balancer: StatefulBalancer, wanted: WantedStates) -> States:
    states = balancer.server_states().get(wanted.slot)
    if not states:
        raise _silent()
    return states


def _silent() -> BatonError:
    return BatonError(
        found="the load balancer does not answer",
        expected="an answer, because the state of a server is its own",
        fix="look whether it runs, and at its log; nothing was changed",
    )


def _differing(before: States, wanted: States) -> list[str]:
    return [host for host, state in wanted.items() if before[host] != state]


def _await_healthy(servers: list[str], wanted: WantedStates) -> None:
    """Wait until each of them answers its health check: a load balancer may hold a server to be up before it has asked it."""
    deadline = time.monotonic() + wanted.wait
    while wanted.min_up > 0:
        ill = {server: said for server in servers if (said := _said(server, wanted.health_path))}
        if not ill:
            return
        if time.monotonic() >= deadline:
            raise BatonError(
                found="asked for "
                + wanted.health_path
                + ", "
                + "; ".join(f"{one}: {said}" for one, said in ill.items()),
                expected=f"200 from each server within {wanted.wait:g} s before it is ready",
                fix="look at the app on that host; nothing was changed",
            )
        time.sleep(POLL_SECONDS)


def _said(server: str, path: str) -> str:
    """Return what is wrong with the answer of a server, nothing when it is healthy."""
    seen = ask(parse_endpoint(server, url=f"http://{server}{path}"), timeout=PROBE_SECONDS, max_body=_LARGEST_ANSWER)
    if seen.kind == "answered":
        return "" if seen.status == _OK else f"status {seen.status}"
    return seen.kind


def _await_enough(
    balancer: StatefulBalancer, wanted: WantedStates, servers: typing.Mapping[str, str], wait: float
) -> None:
    """Wait until enough servers are up beside those that leave: after a reload, a load balancer holds none to be up at first."""
    deadline = time.monotonic() + wait
    while True:
        changing = _differing(_states(balancer, wanted), wanted.states)
        leaving = {servers[host] for host in changing if wanted.states[host] != READY}
        pools = balancer.pools() or {}
        up = {server for pool in pools.values() for server in pool["up"]}
        serving = _serving(balancer.routing(pools), pools)
        short = [where for where, own in serving.items() if leaving & own and len((up & own) - leaving) < wanted.min_up]
        if not short:
            return
        if time.monotonic() >= deadline:
            own = serving[short[0]]
            raise BatonError(
                found=f"{', '.join(sorted((up & own) - leaving)) or 'no server'} of {len(own)} that serve in {short[0]} would be left up",
                expected=f"at least {wanted.min_up}",
                fix="bring others back first, or lower min_up (0 asks nothing); nothing was changed",
                pools=pools,
            )
        time.sleep(POLL_SECONDS)


def _serving(routing: Routing, pools: seats.Pools) -> dict[str, set[str]]:
    """Return for each slot that gets traffic (or ``mixed``) its servers."""
    if routing.live == MIXED:
        return {MIXED: set(seats.servers_in(routing.seats, pools).values())}
    slots = [routing.live, *([other(routing.live)] if routing.share else [])] if routing.live in SLOTS else []
    return {slot: set(pools.get(slot, {}).get("servers", ())) for slot in slots}


def _await_up(balancer: Balancer, servers: set[str], wanted: WantedStates) -> None:
    """Wait until the load balancer itself holds the servers that are ready to be up."""
    deadline = time.monotonic() + wanted.wait
    while wanted.min_up > 0:
        up = {server for pool in (balancer.pools() or {}).values() for server in pool["up"]}
        if servers <= up:
            return
        if time.monotonic() >= deadline:
            raise BatonError(
                found=f"{', '.join(sorted(servers - up))} ready, but not up as the load balancer sees it",
                expected=f"it to be up within {wanted.wait:g} s",
                fix="look at the load balancer's log; the state was changed, and it gets requests as soon as it is up",
                pools=balancer.pools() or {},
            )
        time.sleep(POLL_SECONDS)


def _reasons(noted: exclusions.Reasons, before: States, wanted: WantedStates) -> dict[str, str]:
    """Return what is to be noted then: whoever puts a server into another state without a reason takes it over."""
    kept = {host: why for host, why in noted.items() if before.get(host) == MAINT and host not in wanted.states}
    return {**kept, **wanted.reasons}


def _as_text(states: States, reasons: exclusions.Reasons, unsettled: str = "") -> str:
    words = (f"{host}={state}" + (f" ({reasons[host]})" if host in reasons else "") for host, state in states.items())
    return " ".join(words) + (f" ({unsettled})" if unsettled else "") + "\n"
