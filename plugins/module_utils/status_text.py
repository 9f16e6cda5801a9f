# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What is live where, in words: the table of status.yml."""

from __future__ import annotations

import time

from ansible_collections.baton.release.plugins.module_utils.door import Door
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.observed import Facts, Observed
from ansible_collections.baton.release.plugins.module_utils.plan_rollback import plan_rollback
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, SLOTS, other

__all__ = ["describe_status"]

LABEL_WIDTH = 10
RUNS_SHOWN = 8
WAY_BACK = {
    "hot": "runs in {slot}",
    "share": "is live in {slot}; the share of the clients in the other slot is taken back",
    "stay": "is live in {slot} already; a run was interrupted before traffic moved, or after it came back",
}


def describe_status(observed: Observed, *, app_name: str, schema: Facts, now: float) -> str:
    """Return the table: traffic, slots, installed releases, schema, lock, the way back and the last runs."""
    rows: list[tuple[str, str]] = [
        *_labelled(
            "traffic",
            [*(_traffic(name, one, observed) for name, one in observed.balancers.items()), *_disagreement(observed)],
        ),
        *(_labelled("door", doors) if (doors := _doors(observed)) else []),
        *(_labelled("left out", out) if (out := [*observed.not_ready(), *_excluded(observed)]) else []),
        *_labelled("slots", _slots(observed)),
        *(_labelled("singletons", alone) if (alone := _singletons(observed)) else []),
        *_labelled("installed", _installed(observed)),
        ("schema", _schema(schema)),
        ("lock", _lock(observed.journal, now)),
        ("way back", _way_back(observed)),
        *_labelled("last runs", _runs(observed.journal)),
    ]
    return "\n".join([app_name, *(f"  {label:<{LABEL_WIDTH}} {text}".rstrip() for label, text in rows)])


def _labelled(label: str, lines: list[str]) -> list[tuple[str, str]]:
    return list(zip([label] + [""] * len(lines), lines or ["none"]))


def _traffic(name: str, one: Facts, observed: Observed) -> str:
    if "lost" in one:
        return f"{name}: unknown ({one['lost']})"
    if not one["answering"]:
        return f"{name}: {one['live']} is chosen, but the load balancer does not answer"
    live = one["live"]
    if live == MIXED:
        return f"{name}: mixed, a rolling update is under way: " + ", ".join(
            f"{host} {slot}" + (f" ({_version_on(observed, host, slot)})" if slot in SLOTS else "")
            for host, slot in one["seats"].items()
        )
    if live not in SLOTS:
        return f"{name}: nothing is live"
    share = f"; {one['share']} % of the clients reach {_pool(other(live), one, observed)}" if one.get("share") else ""
    return f"{name}: {_pool(live, one, observed)}{share}"


def _pool(slot: str, one: Facts, observed: Observed) -> str:
    pool = one["pools"][slot]
    return f"{slot} ({observed.version(slot) or 'different versions'}), {len(pool['up'])} of {len(pool['servers'])} servers up"


def _disagreement(observed: Observed) -> list[str]:
    """Say that the load balancers that answered do not send the same share of the clients to the slot that is not live."""
    shares = {int(one.get("share", 0)) for one in observed.balancers.values() if "lost" not in one}
    return (
        ["the load balancers disagree about the share; the release, run again, or rollback.yml mends that"]
        if len(shares) > 1
        else []
    )


def _doors(observed: Observed) -> list[str]:
    """Return what is to be said of the doors: nothing while all are open, and nothing of a balancer that did not answer."""
    doors = {name: Door(**one["door"]) for name, one in observed.balancers.items() if one.get("door")}
    if all(door == Door() for door in doors.values()):
        return []
    lines = [f"{name}: {door.as_text().strip()}" for name, door in doors.items()]
    differing = len({door.word for door in doors.values()}) > 1
    return [
        *lines,
        *(["the load balancers disagree about it; maintenance.yml, run again, mends that"] if differing else []),
    ]


def _excluded(observed: Observed) -> list[str]:
    """Return what is to be said of the hosts that are excluded, by the settings or still by the load balancers."""
    away = {slot: observed.away(slot) for slot in SLOTS}
    lines = [f"{host}: excluded ({why}){_not_held(observed, host)}" for host, why in observed.excluded.items()]
    for host, why in {**away[SLOTS[0]], **away[SLOTS[1]]}.items():
        where = " and ".join(slot for slot in SLOTS if host in away[slot])
        lines.append(f"{host}: out of {where} ({why}), until a release brings it back there")
    return lines


def _not_held(observed: Observed, host: str) -> str:
    ready = [
        f"{slot} at {name}"
        for name in observed.can_exclude()
        for slot in SLOTS
        if host not in observed.holds(name, slot)
    ]
    return f", but not held in maintenance in {', '.join(ready)}; the next run does that" if ready else ""


def _version_on(observed: Observed, host: str, slot: str) -> str:
    facts = observed.reachable().get(host)
    return str(facts["slots"][slot]["version"] or "empty") if facts else "unknown"


def _slots(observed: Observed) -> list[str]:
    lines = []
    for name, host in observed.hosts.items():
        cells = (
            [f"{slot}: {_slot(host['slots'][slot])}" for slot in SLOTS]
            if "lost" not in host
            else [f"unknown ({host['lost']})"]
        )
        lines.append(f"{name:<8} " + "".join(f"{cell:<34}" for cell in cells).rstrip())
    return [*lines, *(f"{name:<8} not asked" for name in observed.excluded)]


def _slot(slot: Facts) -> str:
    if not slot["version"]:
        return "empty"
    state = "stopped" if slot["state"] == "absent" else slot["state"]
    return f"{slot['version']} {state}" + (", verified" if slot["verified"] else "")


def _singletons(observed: Observed) -> list[str]:
    """Return which processes that must exist once run where; nothing where none was ever started."""
    live = observed.live()
    lines: list[str] = []
    homes: dict[str, list[str]] = {}
    for host, facts in observed.reachable().items():
        for one in facts.get("singletons", ()):
            homes.setdefault(one["name"], []).append(host)
            state = f"{one['state']} {one['detail']}".rstrip()
            astray = "" if live == {one["slot"]} or MIXED in live else ", which is not live; the next run stops it"
            lines.append(f"{one['name']}: {state} on {host}, {one['version']} in {one['slot']}{astray}")
    twice = [
        f"{name} runs on {', '.join(hosts)}; the next run mends that" for name, hosts in homes.items() if hosts[1:]
    ]
    return [*lines, *twice]


def _installed(observed: Observed) -> list[str]:
    marks = {mark["version"]: mark for host in observed.reachable().values() for mark in host["releases"]}
    latest = sorted(marks.values(), key=lambda mark: -float(mark.get("installed_at", 0)))
    lines = []
    for mark in latest:
        hosts = sorted(observed.installed(mark["version"]))
        proof = "verified" if observed.verified(mark["version"]) else "not verified"
        lines.append(f"{mark['version']:<12} {proof:<13} on {', '.join(hosts)}")
    return lines


def _schema(schema: Facts) -> str:
    if not schema.get("known"):
        return f"unknown ({schema.get('reason') or schema.get('msg') or 'nothing is live yet'})"
    parts = [f"at {', '.join(schema['current']) or 'base'}"]
    if schema.get("pending"):
        parts.append(f"pending {', '.join(one['revision'] for one in schema['pending'])}")
    if schema.get("ahead"):
        parts.append(f"ahead of what is live by {', '.join(schema['ahead'])}")
    return "; ".join(parts)


def _lock(journal: Facts, now: float) -> str:
    if "lost" in journal:
        return f"unknown ({journal['lost']})"
    lease = journal["lease"]
    if not lease["owner"]:
        return f"free; lease {lease['token']} was the last"
    left = lease["expires_at"] - now
    running = f"{left:.0f} s left" if left > 0 else "run out, free to take"
    return f"lease {lease['token']} of {lease['owner']} since {_clock(lease['acquired_at'])} ({lease['reason']}), {running}"


def _way_back(observed: Observed) -> str:
    try:
        plan = plan_rollback(observed)
    except BatonError as error:
        return f"none. {error}"
    where = WAY_BACK.get(
        "share" if plan.shares and plan.mode == "stay" else plan.mode, "is installed and would be staged in {slot}"
    ).format(slot=plan.target_slot)
    left = observed.hot_for(plan.target_slot) if plan.mode == "hot" else None
    until = (
        ""
        if left is None
        else f"; hot for another {_span(left)}"
        if left
        else "; its time is over, and the next run stops it"
    )
    return f"{plan.mode}: {plan.version} {where}{until}"


def _span(seconds: int) -> str:
    """Return a time in words that are short enough for a table."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _runs(journal: Facts) -> list[str]:
    return [
        f"#{run['token']:<4} {_clock(run.get('started_at'))}  {run.get('action', ''):<8} {run.get('version', ''):<12} "
        f"from {run.get('from_version') or 'nothing':<12} {run['outcome']}"
        for run in list(journal.get("runs", ()))[:RUNS_SHOWN]
    ]


def _clock(seconds: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds)) if seconds else "unknown time"
