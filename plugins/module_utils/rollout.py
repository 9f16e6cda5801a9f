# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""How a version comes to traffic; and how many app hosts a rolling update changes at a time, in the words of a Kubernetes Deployment.

``max_surge``: hosts that may run both versions at once while they change; ``max_unavailable``: hosts that may be out of the pool.
A percentage counts of all app hosts, rounded up for the surge and down for the hosts that may be out (as Kubernetes does).
"""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["STRATEGIES", "Rollout", "count_of"]

STRATEGIES = ("blue_green", "rolling")
WHOLE = 100
COUNT = re.compile(r"(\d{1,6})(%?)")


@dataclass(frozen=True)
class Rollout:
    """How a version comes to traffic."""

    strategy: str = "blue_green"
    max_surge: str = "1"
    max_unavailable: str = "0"
    steps: typing.Sequence[int] = ()
    """Per cents of the clients that reach the version one after the other before all do; not for a rolling update."""

    @property
    def rolling(self) -> bool:
        """Whether it is done batch by batch."""
        return self.strategy == "rolling"

    def size(self, hosts: int) -> tuple[int, bool, int]:
        """Return the hosts in a batch, whether each is replaced in place, and the servers that must be up at any time.

        Args:
            hosts: the number of app hosts.

        Raises:
            BatonError: nothing could ever change, or nothing would be left to serve.
        """
        surge = count_of("release_max_surge", self.max_surge, hosts, round_up=True)
        unavailable = count_of("release_max_unavailable", self.max_unavailable, hosts, round_up=False)
        if not surge and not unavailable:
            raise BatonError(
                found=f"release_max_surge {self.max_surge} and release_max_unavailable {self.max_unavailable}: 0 of {hosts} app hosts",
                expected="at least one host that may change",
                fix="set release_max_surge: 1 where a host has room for both versions, else release_max_unavailable: 1",
            )
        if unavailable >= hosts:
            raise BatonError(
                found=f"release_max_unavailable {self.max_unavailable}: {unavailable} of {hosts} app hosts",
                expected="at least one app host that stays in",
                fix="lower release_max_unavailable" + (", or set release_max_surge: 1" if not surge else ""),
            )
        return surge or unavailable, not surge, hosts - unavailable

    def batches(self, hosts: typing.Sequence[str], *, of: int) -> list[list[str]]:
        """Return ``hosts`` in batches, for ``of`` app hosts in all."""
        size, _in_place, _floor = self.size(of)
        return [list(hosts[start : start + size]) for start in range(0, len(hosts), size)]


def count_of(name: str, value: str, total: int, *, round_up: bool) -> int:
    """Return how many of ``total`` the setting ``name`` means: a count, or a percentage such as ``25%``.

    Raises:
        BatonError: it is neither.
    """
    found = COUNT.fullmatch(value.strip())
    if not found or (found[2] and int(found[1]) > WHOLE):
        raise BatonError(
            found=f"{name} {value!r}",
            expected="a number of app hosts, or a percentage of them between 0% and 100%",
            fix=f"set {name}: 1, or {name}: 25%",
        )
    number = int(found[1])
    if not found[2]:
        return number
    return -(-number * total // WHOLE) if round_up else number * total // WHOLE
