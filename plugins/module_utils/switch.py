# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The switch of one load balancer: a compare-and-swap of the slot that traffic reaches.

The file ``live`` in the state directory holds the name of the live slot and nothing else; the balancer looks it up at every
request. ``switch.json`` beside it says how it came to be; it is written first, and believed only while it agrees with ``live``.
"""

from __future__ import annotations

import time
import typing
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.fence import fenced, newest_token
from ansible_collections.baton.release.plugins.module_utils.files import (
    read_json,
    read_text,
    write_atomically,
    write_json,
)
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS

__all__ = ["NOTHING_LIVE", "Balancer", "Wanted", "observe", "switch"]

NOTHING_LIVE = "none"
POLL_SECONDS = 0.2


class Balancer(typing.Protocol):
    """What a driver answers for one load balancer."""

    def pools(self) -> dict[str, typing.Any] | None:
        """Return ``{slot: {servers, up, in_flight}}``; None when the balancer does not answer."""


@dataclass(frozen=True)
class Wanted:
    """The wanted state: ``slot`` live, found only as ``expected`` (None: whatever it is), with ``min_up`` servers within ``wait`` s."""

    slot: str
    expected: str | None = None
    min_up: int = 1
    wait: float = 15.0


def observe(balancer: Balancer, state_dir: str | Path) -> dict[str, typing.Any]:
    """Return what is live, what was before, and the state of the pools.

    Raises:
        BatonError: the file that holds the live slot holds something else.
    """
    live, pools = _live(Path(state_dir)), balancer.pools()
    return {
        "live": live,
        "previous": _previous(Path(state_dir), live),
        "newest_token": newest_token(state_dir),
        "answering": pools is not None,
        "pools": pools or {},
    }


def switch(
    balancer: Balancer, wanted: Wanted, *, state_dir: str | Path, token: int | None, check_mode: bool = False
) -> dict[str, typing.Any]:
    """Make ``wanted.slot`` live on this balancer; return ``observe``'s keys, ``changed`` and ``diff``.

    Raises:
        BatonError: another slot than the expected one is live, the lease is not the newest one, or the pool is not up.
    """
    directory = Path(state_dir)
    _await_pool(balancer, wanted)
    with fenced(directory, token, check_mode=check_mode):
        live = _live(directory)
        changed = _must_change(live, wanted, directory, token)
        if changed and not check_mode:
            record = {"from": live, "to": wanted.slot, "token": token, "at": time.time()}
            write_json(directory / "switch.json", record)
            write_atomically(directory / "live", wanted.slot)
    result = observe(balancer, directory)
    return {
        **result,
        "changed": changed,
        "live": wanted.slot,
        "diff": {"before": f"{live}\n", "after": f"{wanted.slot}\n"},
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


def _await_pool(balancer: Balancer, wanted: Wanted) -> None:
    """Wait until the balancer itself reports ``min_up`` servers of the wanted pool up; with ``min_up`` 0 ask nothing."""
    deadline = time.monotonic() + wanted.wait
    while wanted.min_up > 0:
        pools = balancer.pools()
        pool = (pools or {}).get(wanted.slot, {"up": [], "servers": []})
        if len(pool["up"]) >= wanted.min_up:
            return
        if time.monotonic() >= deadline:
            seen = (
                "the load balancer does not answer" if pools is None else f"it reports {pool['up'] or 'no server'} up"
            )
            raise BatonError(
                found=f"{seen} in pool {wanted.slot} of {pool['servers']}",
                expected=f"at least {wanted.min_up} servers up within {wanted.wait:g} s before traffic moves there",
                fix="nothing was switched; look at the health of these servers as the load balancer sees it, and at its own log",
                pools=pools or {},
            )
        time.sleep(POLL_SECONDS)


def _live(directory: Path) -> str:
    text = read_text(directory / "live")
    slot = NOTHING_LIVE if text is None else text.strip()
    if slot not in (*SLOTS, NOTHING_LIVE):
        raise BatonError(
            found=f"{directory / 'live'} holds {slot[:40]!r}",
            expected=f"one of {', '.join(SLOTS)}",
            fix="find out who wrote it, then run rollback.yml or lb_switch without expected",
        )
    return slot


def _previous(directory: Path, live: str) -> str:
    record = read_json(directory / "switch.json") or {}
    return str(record["from"]) if record.get("to") == live else NOTHING_LIVE
