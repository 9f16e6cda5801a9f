# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The plan in words, for the person who decides whether it runs."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.plan import STEPS_OF_MODE, Plan

__all__ = ["describe"]

WAYS = {
    "first": "first: nothing is live yet; {target} is staged, warmed and proven on every app host, then gets the traffic",
    "forward": "forward: {target} is staged, warmed and proven on every app host, then all traffic moves there at once",
    "hot": "hot: {target} runs {version} already and is proven; one command of the load balancer",
    "warm": "warm: the retained {version} is staged again in {target}, warmed and proven, then all traffic moves there",
    "resume": "resume: traffic is in {target} already, where {version} runs; what is left is the proof",
    "nothing": "nothing: {version} is live in {target} and proven",
}
BACK = {
    "hot": "hot: {from_version} stays in {from_slot}; rollback.yml is one command of the load balancer",
    "": "none: there is no proven version to go back to",
}


def describe(plan: Plan, *, app_name: str, settings: typing.Mapping[str, typing.Any]) -> list[str]:
    """Return the lines of the plan; ``settings`` adds lines of its own, label to text."""
    words = {"target": plan.target_slot, "version": plan.version, "from_version": plan.from_version, "from_slot": plan.from_slot}
    now = f"now {plan.from_version} in {plan.from_slot}" if plan.from_version else "nothing proven is live"
    rows = {
        "way": WAYS[plan.mode].format(**words),
        "steps": " > ".join(STEPS_OF_MODE[plan.mode]) or "none",
        "hosts": ", ".join(plan.hosts),
        "artifact": f"sha256 {plan.sha256}" if "stage" in STEPS_OF_MODE[plan.mode] else "",
        **{label: str(text) for label, text in settings.items()},
        "way back": BACK[plan.way_back].format(**words),
        "left out": ", ".join(f"{name} ({reason})" for name, reason in plan.lost.items()),
    }
    if plan.mode == "nothing":
        rows = {"way": rows["way"]}
    return [
        f"{plan.action} {app_name} {plan.version} ({now})",
        *(f"  {label:<10} {text}" for label, text in rows.items() if text),
        *(f"  note       {note}" for note in plan.notes),
    ]
