# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The drivers for load balancers, one file each; only the one that is asked for is loaded."""

from __future__ import annotations

import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.balancer_haproxy import HAProxy
    from ansible_collections.baton.release.plugins.module_utils.server_change import StatefulBalancer
    from ansible_collections.baton.release.plugins.module_utils.switch import Balancer

__all__ = ["DRIVERS", "balancer", "stateful_balancer"]

Options = typing.Mapping[str, typing.Any]


def _aws_alb(options: Options) -> Balancer:
    from ansible_collections.baton.release.plugins.module_utils.balancer_aws_alb import AwsAlb  # noqa: PLC0415 - see above

    if options["slot"] == MIXED:
        raise BatonError(
            found=f"the slot {MIXED}, for which each app host has a seat",
            expected="blue or green: the driver aws_alb has no seats",
            fix="release with release_strategy: blue_green; nothing was touched",
        )
    return AwsAlb(options["admin"] or "", options["target_groups"] or {})


def _caddy(options: Options) -> Balancer:
    from ansible_collections.baton.release.plugins.module_utils.balancer_caddy import Caddy  # noqa: PLC0415 - see above

    return Caddy(
        options["admin"] or "http://127.0.0.1:2019",
        options["app_name"],
        options["preview"],
        options["health_path"],
        Path(options["state_dir"]),
    )


def _haproxy(options: Options) -> HAProxy:
    from ansible_collections.baton.release.plugins.module_utils.balancer_haproxy import HAProxy  # noqa: PLC0415 - see above

    return HAProxy(
        Path(options["admin"] or "/run/haproxy-master.sock"), options["app_name"], Path(options["state_dir"])
    )


def _nginx(options: Options) -> Balancer:
    from ansible_collections.baton.release.plugins.module_utils.balancer_nginx import Nginx  # noqa: PLC0415 - see above

    return Nginx(
        options["admin"] or "http://127.0.0.1:8083",
        options["app_name"],
        options["health_path"],
        Path(options["state_dir"]),
    )


DRIVERS: dict[str, typing.Callable[[Options], Balancer]] = {
    "aws_alb": _aws_alb,
    "caddy": _caddy,
    "haproxy": _haproxy,
    "nginx": _nginx,
}
"""For each driver what makes one from the options of ``lb_switch``."""


STATEFUL: dict[str, typing.Callable[[Options], StatefulBalancer]] = {"haproxy": _haproxy}
"""The drivers whose servers can be in another state each, without a reload."""


def balancer(options: Options) -> Balancer:
    """Return the balancer that the options of ``lb_switch`` name."""
    return DRIVERS[options["driver"]](options)


def stateful_balancer(options: Options) -> StatefulBalancer:
    """Return the balancer that the options of ``lb_switch`` name, to change the states of its servers.

    Raises:
        BatonError: its driver cannot do that, whatever its configuration is.
    """
    if options["driver"] not in STATEFUL:
        raise BatonError(
            found=f"the driver {options['driver']}, which cannot put one server into another state without a reload",
            expected=f"one that can: {', '.join(STATEFUL)}",
            fix="with other drivers a rolling update takes hosts out by their seats; nothing was touched",
        )
    return STATEFUL[options["driver"]](options)
