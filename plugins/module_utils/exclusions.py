# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Which servers of a load balancer are in maintenance because a release has excluded their host, each with the reason.

A server that somebody has put there by hand is that person's business. One that a release has excluded, a later release brings back, once
the host is proven. ``excluded.json`` in the state directory tells them apart; it counts only while the server is in maintenance.
"""

from __future__ import annotations

import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.files import read_json, write_json
from ansible_collections.baton.release.plugins.module_utils.server_states import MAINT, States

__all__ = ["Reasons", "excluded", "note", "noted"]

Reasons = typing.Mapping[str, str]
"""Host to reason, for one slot."""


def noted(state_dir: Path, slot: str) -> dict[str, str]:
    """Return what is noted for a slot, whatever the servers are."""
    return {str(host): str(why) for host, why in _read(state_dir).get(slot, {}).items()}


def note(state_dir: Path, slot: str, reasons: Reasons) -> None:
    """Have this noted for a slot, and nothing else."""
    if noted(state_dir, slot) != dict(reasons):
        write_json(_path(state_dir), {**_read(state_dir), slot: dict(reasons)})


def excluded(state_dir: Path, states: typing.Mapping[str, States]) -> dict[str, dict[str, str]]:
    """Return for each slot of ``states`` the excluded hosts, with the reason."""
    return {
        slot: {host: why for host, why in noted(state_dir, slot).items() if own.get(host) == MAINT}
        for slot, own in states.items()
    }


def _path(state_dir: Path) -> Path:
    return state_dir / "excluded.json"


def _read(state_dir: Path) -> dict[str, typing.Any]:
    return read_json(_path(state_dir)) or {}
