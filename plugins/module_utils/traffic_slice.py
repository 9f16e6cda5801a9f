# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""One slice of the watch: read the balancer's log, send probes, and stop as soon as the slot is certainly failing."""

from __future__ import annotations

import time
import typing
from datetime import datetime, timezone
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.traffic import Slice, Tally, judge
from ansible_collections.baton.release.plugins.module_utils.traffic_comparison import compare
from ansible_collections.baton.release.plugins.module_utils.traffic_probes import AGENT

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.traffic import Limits, Request
    from ansible_collections.baton.release.plugins.module_utils.traffic_probes import Probes

__all__ = ["DRIVERS", "AccessLog", "watch"]


class AccessLog(typing.Protocol):
    """What a driver gives: the requests of a balancer as they come, and how many it has seen."""

    entries: int
    matched: int
    garbage: int

    @property
    def cursor(self) -> dict[str, typing.Any]:
        """Where the next reader goes on."""

    @property
    def gap(self) -> bool:
        """Whether entries may have been lost since the cursor."""

    def read(self, *, last: bool = False) -> typing.Iterator[Request]:
        """Yield the requests since the last call; a driver for which that is much work may leave out any but the ``last`` one."""

    def close(self) -> None:
        """Let go of the log."""


def _caddy(path: Path, **more: typing.Any) -> AccessLog:
    from ansible_collections.baton.release.plugins.module_utils.access_log_caddy import (  # noqa: PLC0415 - only the driver that is asked for
        CaddyAccessLog,
    )

    return CaddyAccessLog(path, **more)


def _haproxy(path: Path, **more: typing.Any) -> AccessLog:
    from ansible_collections.baton.release.plugins.module_utils.access_log_haproxy import (  # noqa: PLC0415 - only the driver that is asked for
        HAProxyRing,
    )

    return HAProxyRing(path, **more)


def _nginx(path: Path, **more: typing.Any) -> AccessLog:
    from ansible_collections.baton.release.plugins.module_utils.access_log_nginx import (  # noqa: PLC0415 - only the driver that is asked for
        NginxAccessLog,
    )

    return NginxAccessLog(path, **more)


DRIVERS: dict[str, typing.Callable[..., AccessLog]] = {"caddy": _caddy, "haproxy": _haproxy, "nginx": _nginx}

_LOOK_EVERY = 0.25  # seconds
_LAST_LOOKS = 0.02  # seconds, while only probes are waited for
_BLIND_PROBES = 3


class _Watch:
    """What one slice has seen, and what the watch had counted before it."""

    def __init__(self, slot: str, limits: Limits, before: Tally, *, compared: bool) -> None:
        self.slot = slot
        self.compared = compared
        self.before = before
        self.limits = limits
        self.current = Slice(limits.max_p95_ms)
        self.others: dict[str, Slice] = {}
        self.unlabelled = 0

    def see(self, log: AccessLog, probes: Probes, *, last: bool) -> None:
        for request in log.read(last=last):
            self._count(request)
        for failure in probes.take():
            self.current.add(failure)

    def judge(self, *, ended: bool) -> tuple[str, str, str]:
        verdict = judge(self.current, self.before, self.limits, slot=self.slot, ended=ended)
        if self.compared and ended and verdict[0] != "breach":
            found, expected = compare(self.slot, self.current, self.others, self.limits)
            return ("breach", found, expected) if found else verdict
        return verdict

    def _count(self, request: Request) -> None:
        if request.slot == self.slot:
            self.current.add(request)
        elif request.slot is not None:
            self.others.setdefault(request.slot, Slice(self.limits.max_p95_ms)).add(request)
        else:
            self.unlabelled += 1
            if request.outcome == "error":
                # The balancer found no slot to ask, and its user got an error all the same.
                self.current.add(request._replace(status=f"{request.status} without slot"))


def watch(
    *,
    driver: str,
    access_log: str,
    match: typing.Mapping[str, typing.Any],
    cursor: typing.Mapping[str, typing.Any] | None,
    totals: typing.Mapping[str, typing.Any] | None,
    probes: Probes,
    slot: str,
    limits: Limits,
    compared: bool,
    seconds: float,
    fail_on_breach: bool,
    check_mode: bool,
) -> dict[str, typing.Any]:
    """Watch ``slot`` for ``seconds`` and return the module's result.

    Args:
        driver: key of ``DRIVERS``.
        access_log: path of the balancer's log on this host.
        match: fields that a request must have to count.
        cursor: where the previous slice stopped.
        totals: what the previous slices counted.
        probes: requests of our own.
        slot: whose answers are judged.
        limits: what they may be like.
        compared: whether the slot is also judged by the other one.
        seconds: how long; a slice in which probes hang is longer by their timeout at most.
        fail_on_breach: whether a breach is an error.
        check_mode: look at nothing.

    Raises:
        BatonError: the limits are breached, or the log does not show what it should.
    """
    seen = _Watch(slot, limits, Tally.from_result(totals) if totals else Tally(), compared=compared)
    if check_mode:
        return _result(seen, "inconclusive", cursor=dict(cursor or {}), probes=probes, gap=False)
    log = DRIVERS[driver](Path(access_log), cursor=cursor, match=match, own_agent=AGENT)
    started = time.monotonic()
    try:
        verdict, found, expected = _look(seen, log, probes, started + seconds)
        seen.current.tally.seconds = time.monotonic() - started
        result = _result(seen, verdict, cursor=log.cursor, probes=probes, gap=log.gap)
        if verdict != "breach":
            _refuse_blindness(seen, log, probes, result)
    finally:
        log.close()
    if verdict == "breach" and fail_on_breach:
        since = f" (the first error was at {result['first_error_at']})" if result["first_error_at"] else ""
        raise BatonError(
            found=found,
            expected=expected,
            fix=f"take traffic off {slot}, then look into the app's log there{since}",
            **result,
        )
    return result


def _look(seen: _Watch, log: AccessLog, probes: Probes, end: float) -> tuple[str, str, str]:
    while True:
        now = time.monotonic()
        if now < end:
            probes.launch_due()
        ended = now >= end and (not probes.outstanding or now >= end + probes.timeout + _LOOK_EVERY)
        seen.see(log, probes, last=ended)
        if ended:
            return seen.judge(ended=True)
        judgement = seen.judge(ended=False)
        if judgement[0] == "breach":
            return judgement
        time.sleep(min(_LOOK_EVERY, probes.interval, max(end - now, _LAST_LOOKS)))


def _refuse_blindness(seen: _Watch, log: AccessLog, probes: Probes, result: dict[str, typing.Any]) -> None:
    # Without answered probes, silence is only silence.
    must_show = probes.answered >= _BLIND_PROBES
    if log.garbage and not log.entries:
        found = f"{log.garbage} lines in the log that are no requests in JSON"
        fix = "let the balancer write each request as one JSON object, with the encoder's own formats"
    elif must_show and not log.matched:
        found = f"{probes.answered} probes answered, and none of them among the {log.entries} requests in the log"
        fix = "correct access_log, url or match: they mean different balancers or listeners, or this one does not log"
    elif log.matched == seen.unlabelled and (must_show or seen.unlabelled >= seen.limits.min_requests):
        found = f"{seen.unlabelled} requests in the log, none of which names a slot"
        fix = "let the balancer add the field 'slot' in the route of each slot, and check what is live"
    else:
        return
    raise BatonError(
        found=found, expected="the balancer's requests, with the slot that answered each", fix=fix, **result
    )


def _result(
    seen: _Watch, verdict: str, *, cursor: dict[str, typing.Any], probes: Probes, gap: bool
) -> dict[str, typing.Any]:
    current = seen.current.as_result()
    first = seen.current.first_error_at
    return {
        "changed": False,
        "verdict": verdict,
        "slice": current,
        "totals": (seen.before + seen.current.tally).as_result(),
        "cursor": cursor,
        "gap": gap,
        "other_slots": {
            slot: {"requests": other.tally.requests, "errors": other.tally.errors, "p95_ms": other.p95_ms()}
            for slot, other in sorted(seen.others.items())
        },
        "unlabelled": seen.unlabelled,
        "probes": {"sent": probes.sent, "answered": probes.answered, "failed": probes.failed},
        "first_error_at": None if first is None else datetime.fromtimestamp(first, tz=timezone.utc).isoformat(),
        "seconds": current["seconds"],
        "line": "; ".join(
            _line(slot, one.as_result())
            for slot, one in ((seen.slot, seen.current), *(sorted(seen.others.items()) if seen.compared else ()))
        ),
    }


def _line(slot: str, current: typing.Mapping[str, typing.Any]) -> str:
    p95 = "no latency" if current["p95_ms"] is None else f"p95 {current['p95_ms']:.0f} ms"
    rate = f"{current['error_rate'] * 100:.2f} %"
    return f"{slot}: {current['requests']} requests, {current['errors']} errors ({rate}), {p95}"
