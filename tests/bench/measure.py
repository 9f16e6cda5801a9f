"""One fleet measured: a release, a rollback, and the plain scripts, in one run on one machine."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tests.bench import plain
from tests.e2e.environment import Played
from tests.fleet.prod import DOMAIN, Prod
from tests.witness.checker import Latency, by_version, failures, latency
from tests.witness.ledger import Ledger

__all__ = ["Figures", "measure"]

AROUND_SECONDS = 1.0
"""Before and after the first answer of the new version: what counts as during the switch."""
QUIET_SECONDS = 5.0
WATCH = {"watch_seconds": 2, "watch_slice_seconds": 2}


@dataclass(frozen=True)
class Switch:
    """A change of the version as clients of all load balancers saw it; seconds and milliseconds."""

    skew_ms: float
    """From the first answer of the new version to the last answer of the old one, at whichever load balancer; of a switch of traffic
    that is atomic it is what was in flight."""
    worst_balancer_ms: float
    """The same at the load balancer where it was longest."""
    seconds_to_last_old: float
    """From the start of the command to the last answer of the old version."""
    requests: int
    failed: int
    p99_before: float
    p99_during: float


@dataclass(frozen=True)
class Figures:
    """What came of one size."""

    hosts: int
    release_seconds: float
    """With ``watch_seconds`` 2."""
    rollback_seconds: float
    ansible_seconds: float
    """Of a playbook that does nothing: starting Ansible."""
    plain_seconds: float
    """Median of three."""
    calls_per_app_host: float
    calls_per_balancer: float
    release: Switch
    rollback: Switch


def measure(prod: Prod) -> Figures:
    """Provision the fleet, release a first version, and measure the release of the next one and the way back."""
    prod.must("provision")
    old, new = "v1.0.0", "v1.1.0"
    prod.must("release", release_version=old, **WATCH)
    with prod.watched("bench-release") as ledgers:
        time.sleep(QUIET_SECONDS)
        released, began, release_seconds = _timed(prod, "release", release_version=new, **WATCH)
    release = _switch(ledgers, old, new, began)
    with prod.watched("bench-rollback") as ledgers:
        time.sleep(QUIET_SECONDS)
        _, began, rollback_seconds = _timed(prod, "rollback")
    rollback = _switch(ledgers, new, old, began)
    calls = Counter(one["host"] for one in released.tasks if one["remote"])
    return Figures(
        hosts=len(prod.fleet.names("app")),
        release_seconds=release_seconds,
        rollback_seconds=rollback_seconds,
        ansible_seconds=_timed(prod, "check_inventory")[2],
        plain_seconds=statistics.median(plain.seconds(prod, new) for _ in range(3)),
        calls_per_app_host=_mean(calls, prod.fleet.names("app")),
        calls_per_balancer=_mean(calls, prod.fleet.names("lb")),
        release=release,
        rollback=rollback,
    )


def _timed(prod: Prod, playbook: str, **variables: object) -> tuple[Played, float, float]:
    """Run a playbook; return it with its start (Unix seconds) and its seconds."""
    began, from_here = time.time(), time.monotonic()
    played = prod.must(playbook, **variables)
    return played, began, time.monotonic() - from_here


def _mean(calls: Mapping[str, int], hosts: list[str]) -> float:
    return statistics.mean(calls[f"{host}{DOMAIN}"] for host in hosts)


def _switch(ledgers: Mapping[str, Ledger], old: str, new: str, began: float) -> Switch:
    seen = {balancer: by_version(ledger.records) for balancer, ledger in ledgers.items()}
    first_new = min(versions[new].first for versions in seen.values())
    last_old = max(versions[old].last for versions in seen.values())
    each = [versions[old].last - versions[new].first for versions in seen.values()]
    records = [record for ledger in ledgers.values() for record in ledger.records]
    before = latency([record for record in records if record.end < began])
    during = latency([record for record in records if abs(record.end - first_new) <= AROUND_SECONDS])
    return Switch(
        skew_ms=max(0.0, last_old - first_new) * 1000,
        worst_balancer_ms=max(0.0, *each) * 1000,
        seconds_to_last_old=last_old - began,
        requests=len(records),
        failed=len(failures(records)),
        p99_before=_p99(before),
        p99_during=_p99(during),
    )


def _p99(found: Latency | None) -> float:
    return float("nan") if found is None else found.p99
