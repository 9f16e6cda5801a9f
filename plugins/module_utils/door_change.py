# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The change of one load balancer's door.

It is absolute, so there is nothing to compare with but the newest lease: a door that is so already is no change.
"""

from __future__ import annotations

import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.door import CLOSED, Door
from ansible_collections.baton.release.plugins.module_utils.drain import await_idle
from ansible_collections.baton.release.plugins.module_utils.fence import fenced
from ansible_collections.baton.release.plugins.module_utils.switch import Balancer, observe

__all__ = ["move_door"]


def move_door(
    balancer: Balancer,
    wanted: Door,
    *,
    drain: float,
    state_dir: str | Path,
    token: int | None,
    check_mode: bool = False,
) -> dict[str, typing.Any]:
    """Have the door of this balancer as ``wanted``; return ``observe``'s keys, ``changed``, ``diff`` and ``draining``.

    Args:
        balancer: the load balancer.
        wanted: the door.
        drain: seconds in which the requests that were let in before may end, once it is closed.
        state_dir: the app's state directory on this host.
        token: the lease's token; None for a change that nobody coordinates.
        check_mode: only say what would change.

    Raises:
        BatonError: the lease is not the newest one, or the balancer cannot do it.
    """
    with fenced(state_dir, token, check_mode=check_mode):
        before = balancer.door()
        changed = before != wanted
        if changed:
            balancer.refuse_door(wanted)
        if changed and not check_mode:
            balancer.move_door(wanted)
    servers = {server for pool in (balancer.pools() or {}).values() for server in pool["servers"]}
    draining = await_idle(balancer, servers, drain) if wanted.state in CLOSED and not check_mode else {}
    return {
        **observe(balancer, state_dir),
        "changed": changed,
        "door": wanted.as_result(),
        "draining": draining,
        "diff": {"before": before.as_text(), "after": wanted.as_text()},
    }
