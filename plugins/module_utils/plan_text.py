# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The plan in words, for the person who decides whether it runs."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.plan import Plan, Rolling

__all__ = ["describe"]

WAYS = {
    "first": "first: nothing is live yet; {target} is staged, warmed and proven on every app host, then gets the traffic",
    "forward": "forward: {target} is staged, warmed and proven on every app host, then all traffic moves there at once",
    "steps": "forward in steps: {target} is staged, warmed and proven on every app host, then gets the clients in steps",
    "hot_steps": "hot, in steps: {target} runs {version} already and is proven; it gets the clients in steps",
    "hot": "hot: {target} runs {version} already and is proven; one command of the load balancer",
    "warm": "warm: the retained {version} is staged again in {target}, warmed and proven, then all traffic moves there",
    "resume": "resume: traffic is in {target} already, where {version} runs; what is left is the proof",
    "stay": "stay: {version} is live in {target}; the run that was interrupted has moved nothing, or has come back already",
    "stay_shared": "stay: {version} is live in {target}; the clients that reach the other slot are taken back",
    "rolling": "rolling: batch after batch, {target} is started and proven on its hosts, then gets their share of the traffic",
    "in_place": "rolling in place: batch after batch, a host is drained, stops {from_version} and starts {version} in {target}",
    "rejoin": "rejoin: {version} is live in {target} and proven; what comes back is staged, warmed and proven there, and let in",
    "nothing": "nothing: {version} is live in {target} and proven",
    "status": "status: the schema is read, from the tree of {version}",
    "test": "test: what is pending in {version} goes up, down and up again in a shadow of the database, which is only read",
    "apply": "apply: what is pending in {version} is applied, and no traffic moves",
    "rollback": "rollback: what was applied above {revision} is undone from the tree of {version}, and no traffic moves",
}
BACK = {
    "hot": "hot: {from_version} stays in {from_slot}; rollback.yml is one command of the load balancer",
    "warm": "warm: nothing stays hot; rollback.yml goes back batch by batch to {from_version}, which stays installed in {from_slot}",
    "release": "forward: {from_version} needs its schema again, so release.yml brings it back, with its migrations",
    "": "none: there is no proven version to go back to",
}


def describe(plan: Plan, *, app_name: str, step_notes: typing.Mapping[str, str]) -> list[str]:
    """Return the lines of the plan; ``step_notes`` says more of some steps, step to text."""
    words = {
        "target": plan.target_slot,
        "version": plan.version,
        "from_version": plan.from_version,
        "from_slot": plan.from_slot,
        "revision": plan.revision,
    }
    now = f"now {plan.from_version or 'different versions'} in {plan.from_slot}"
    if plan.mode in ("resume", "rejoin", "nothing", "stay"):
        now = f"live in {plan.target_slot}"
    elif plan.mode == "first":
        now = "nothing is live"
    elif plan.action == "migrate":
        now = f"{plan.from_version or 'different versions'} in {plan.target_slot} serves"
    rows = {
        "way": WAYS[_way(plan)].format(**words),
        "left over": _left_over(plan),
        "door": _door(plan),
        "batches": _batches(plan.rolling) if plan.rolling and plan.rolling.batches else "",
        "clients": " > ".join([*(f"{share} %" for share in plan.traffic_steps), "all"]) if plan.traffic_steps else "",
        "steps": " > ".join(plan.steps) or "none",
        "hosts": ", ".join(plan.hosts),
        "artifact": f"sha256 {plan.sha256}" if {"stage", "install"}.intersection(plan.steps) else "",
        **_undone(plan),
        **{step: text for step, text in step_notes.items() if step in plan.steps},
        "singletons": _singletons(plan),
        "way back": ""
        if plan.mode == "stay" or plan.action == "migrate"
        else BACK[plan.way_back].format(**words) + _until(plan),
        "comes back": _comes_back(plan),
        "left out": _left_out(plan),
    }
    if plan.mode == "nothing":
        kept = {label: rows[label] for label in ("singletons", "left out")}
        rows = {"way": rows["way"], "sweep": _swept(plan), **_undone(plan), **kept}
    return [
        f"{plan.action} {app_name} {plan.version} ({now})",
        *(f"  {label:<10} {text}" for label, text in rows.items() if text),
    ]


def _undone(plan: Plan) -> dict[str, str]:
    """Say what happens to the schema, where a rollback takes it back."""
    if plan.undo is None:
        return {}
    first, last = ", ".join(plan.undo.first), ", ".join(plan.undo.last)
    now = "while no traffic moves" if plan.mode in ("nothing", "stay") else f"before {plan.version} starts to serve"
    return {
        "undo first": f"{first}, {now}, from the tree of {plan.undo.tree}" if first else "",
        "undo last": f"{last}, when {plan.version} is proven, from the tree of {plan.undo.tree}; what is only in there is lost"
        if last
        else "",
        "schema": "" if first or last else f"suits {plan.version}; nothing is undone",
    }


def _way(plan: Plan) -> str:
    if plan.mode == "stay" and plan.shares:
        return "stay_shared"
    if plan.traffic_steps:
        return "hot_steps" if plan.mode == "hot" else "steps"
    if not plan.rolling or plan.mode == "resume":
        return plan.mode
    return "in_place" if plan.rolling.in_place else "rolling"


def _left_over(plan: Plan) -> str:
    """Say which share an interrupted run has left where; it is never what a run goes on from, because nobody has watched it since."""
    if not plan.shares or plan.mode == "nothing":
        return ""
    where = ", ".join(f"{name} ({share} % of the clients)" for name, share in sorted(plan.shares.items()))
    return f"an interrupted run has left a share in the slot that is not live at {where}; it is taken back first"


def _until(plan: Plan) -> str:
    return (
        f"; {plan.keep_hot} after the proof it is stopped, and warm" if plan.keep_hot and plan.way_back == "hot" else ""
    )


def _swept(plan: Plan) -> str:
    return (
        f"the time of the other slot is over on {', '.join(plan.overdue)}; it is stopped there" if plan.overdue else ""
    )


def _comes_back(plan: Plan) -> str:
    return f"{', '.join(plan.returning)}, when proven; excluded until then" if plan.returning else ""


def _left_out(plan: Plan) -> str:
    """Say whom this does not reach, and what that changes at the load balancers."""
    who = [f"{name} ({reason})" for name, reason in plan.lost.items()]
    who += [f"{name} (excluded: {reason})" for name, reason in plan.excluded.items()]
    if plan.to_tell and plan.excluded:
        who[-1] += f"; put into maintenance at {', '.join(plan.to_tell)} first"
    return ", ".join(who)


def _door(plan: Plan) -> str:
    """Say that users are not let in, which a rollback leaves as it is."""
    if not plan.closed:
        return ""
    where = ", ".join(f"{name} ({state})" for name, state in sorted(plan.closed.items()))
    return f"not open at {where}, and stays so: users see nothing of this until maintenance.yml opens it"


def _singletons(plan: Plan) -> str:
    """Say which processes that must exist once end and begin where, and of which that is not known."""
    its = plan.singletons
    if its is None:
        return ""
    before, after = " before traffic moves", " after it" if its.ends else " after traffic has moved"
    if plan.mode in ("rejoin", "stay", "nothing"):
        before, after = "", ""
    parts = [
        f"stopped{before}: {_places(its.ends)}" if its.ends else "",
        f"started{after}: {_places(its.begins)}, of {plan.version}" if its.begins else "",
        f"started nowhere, because they may still run there: {', '.join(f'{name} of {host}' for name, host in its.unknown.items())}"
        if its.unknown
        else "",
        f"{', '.join(plan.excluded)} must be off, because nobody can ask what runs there"
        if plan.excluded and (its.start or its.ends)
        else "",
    ]
    return "; ".join(part for part in parts if part)


def _places(places: typing.Mapping[str, typing.Sequence[str]]) -> str:
    return ", ".join(f"{', '.join(names)} on {host}" for host, names in places.items())


def _batches(rolling: Rolling) -> str:
    batches = " > ".join(", ".join(batch) for batch in rolling.batches) or "none left"
    return f"{batches}; at least {rolling.floor} servers up at any time"
