# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The health gate: its limits, its result, and what it says when it stays shut."""

from __future__ import annotations

import math
import typing

from ansible_collections.baton.release.plugins.module_utils.endpoints import Endpoint, parse_endpoint
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.health import (
    Expectation,
    Health,
    Policy,
    wait_until_healthy,
)
from ansible_collections.baton.release.plugins.module_utils.probe import Probes

__all__ = ["health_gate"]

_A_DAY = 86400.0
_MANY = 1_000_000
_HTTP_STATUS = range(100, 600)
_MAX_BODY = 16 * 1024 * 1024


def health_gate(
    *,
    endpoints: typing.Sequence[typing.Mapping[str, typing.Any]],
    expectation: Expectation,
    policy: Policy,
    max_body: int,
    fail_on_unhealthy: bool,
    check_mode: bool,
) -> dict[str, typing.Any]:
    """Wait until all ``endpoints`` (mappings with name, url or tcp, headers) are healthy, or until the deadline.

    In check mode each endpoint is looked at once, and nothing fails.

    Returns:
        The module's result: healthy, waited, seconds, endpoints.

    Raises:
        BatonError: an option cannot be used; or, with ``fail_on_unhealthy``, an endpoint is not healthy in time.
    """
    _check_limits(expectation, policy, max_body)
    where = _parse(endpoints)
    judged = policy.once() if check_mode else policy
    healths, seconds = wait_until_healthy(
        [endpoint.name for endpoint in where],
        expectation=expectation,
        policy=judged,
        prober=Probes(where, timeout=policy.probe_timeout, max_body=max_body),
    )
    result = {
        "changed": False,
        "healthy": all(health.holds(judged) for health in healths),
        "waited": not check_mode,
        "seconds": round(seconds, 3),
        "endpoints": [_as_result(health, judged) for health in healths],
    }
    if not result["healthy"] and fail_on_unhealthy and not check_mode:
        raise BatonError(
            found=f"after {seconds:.1f} s, {_describe([health for health in healths if not health.holds(policy)])}",
            expected=_describe_expected(expectation, policy),
            fix="read the application's log there; if it only starts slowly, raise deadline",
            **result,
        )
    return result


def _parse(endpoints: typing.Sequence[typing.Mapping[str, typing.Any]]) -> list[Endpoint]:
    parsed = [
        parse_endpoint(item["name"], url=item.get("url"), tcp=item.get("tcp"), headers=item.get("headers"))
        for item in endpoints
    ]
    names = [endpoint.name for endpoint in parsed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise BatonError(
            found=f"the name {', '.join(twice)} more than once" if twice else "no endpoints",
            expected="at least one endpoint, each with a name of its own",
            fix="correct endpoints; nothing was asked",
        )
    return parsed


def _check_limits(expectation: Expectation, policy: Policy, max_body: int) -> None:
    limits: tuple[tuple[str, object, bool, str], ...] = (
        ("consecutive", policy.consecutive, 1 <= policy.consecutive <= _MANY, f"1 to {_MANY}"),
        *(
            (name, seconds, 0 < seconds <= _A_DAY, f"more than 0, at most {_A_DAY:g} seconds")
            for name in ("deadline", "interval", "probe_timeout")
            for seconds in (getattr(policy, name),)
        ),
        ("min_healthy_seconds", policy.min_healthy_seconds, 0 <= policy.min_healthy_seconds < math.inf, "0 or more"),
        ("max_body", max_body, 1 <= max_body <= _MAX_BODY, f"1 to {_MAX_BODY} bytes"),
        ("status", expectation.status, expectation.status in _HTTP_STATUS, "an HTTP status, 100 to 599"),
        ("version", expectation.version, expectation.version != "", "the version itself, or no version at all"),
        ("version_key", expectation.version_key, all(expectation.version_key.split(".")), "keys joined by single dots"),
    )
    for name, value, holds, expected in limits:
        if not holds:
            raise BatonError(found=f"{name} = {value!r}", expected=expected, fix=f"correct {name}; nothing was asked")
    proof = max(policy.min_healthy_seconds, (policy.consecutive - 1) * policy.interval)
    if proof >= policy.deadline:
        raise BatonError(
            found=f"deadline = {policy.deadline:g} s, but min_healthy_seconds and consecutive need {proof:g} s",
            expected="a deadline after which a healthy endpoint can have proven itself",
            fix="raise deadline, or lower min_healthy_seconds, consecutive or interval; nothing was asked",
        )


def _as_result(health: Health, policy: Policy) -> dict[str, typing.Any]:
    return {
        "name": health.name,
        "healthy": health.holds(policy),
        "consecutive": health.consecutive,
        "observation": None if health.last is None else health.last.as_result(),
    }


def _describe(unhealthy: typing.Sequence[Health]) -> str:
    return f"{len(unhealthy)} not healthy: " + "; ".join(
        f"{health.name} {_last(health)} ({health.consecutive} successes in a row,"
        f" {health.successes} of {health.observations} observations)"
        for health in unhealthy
    )


def _last(health: Health) -> str:
    if health.last is None:
        return "was not reached in turn"
    return health.last.complaint or f"{health.last.observation.detail}, but not for long enough"


def _describe_expected(expectation: Expectation, policy: Policy) -> str:
    version = "" if expectation.version is None else f" and version {expectation.version}"
    lasting = f", {policy.consecutive} in a row" if policy.consecutive > 1 else ""
    if policy.min_healthy_seconds:
        lasting += f", for {policy.min_healthy_seconds:g} s without a break"
    return f"status {expectation.status}{version}{lasting}, within {policy.deadline:g} s"
