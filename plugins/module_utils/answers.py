# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""From what Ansible registered for each host to what the plan looks at."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.history import with_changes
from ansible_collections.baton.release.plugins.module_utils.observed import Observed

__all__ = ["observed_from"]

Results = typing.Mapping[str, typing.Mapping[str, typing.Any]]


def observed_from(
    balancers: Results,
    hosts: Results,
    journal: typing.Mapping[str, typing.Any],
    excluded: typing.Mapping[str, str] | None = None,
) -> Observed:
    """Return what was found; a result that lacks what was asked for is a host that is lost, with the reason.

    The app hosts of ``excluded`` (host to reason) were not asked.
    """
    left_out = excluded or {}
    found = {name: _answer(one, "slots") for name, one in hosts.items() if name not in left_out}
    return Observed(
        balancers={name: _answer(one, "live") for name, one in balancers.items()},
        hosts=found,
        journal=with_changes(
            _answer(journal, "runs"), [change for host in found.values() for change in host.get("schema_changes", ())]
        ),
        excluded=left_out,
    )


def _answer(result: typing.Mapping[str, typing.Any], key: str) -> typing.Mapping[str, typing.Any]:
    if key in result:
        return result
    return {"lost": "unreachable" if result.get("unreachable") else str(result.get("msg", "was not asked"))}
