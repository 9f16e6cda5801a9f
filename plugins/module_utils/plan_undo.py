# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""How a rollback takes the schema back, where that is asked for: what has to be undone before the traffic moves, and what after it.

The version that serves until then needs what it has added, so that goes last, when nobody uses it. The version that comes back does not
survive a contract migration, so that one goes first, and only if a rehearsal shows that who serves then survives that and no data is gone.
"""

from __future__ import annotations

import typing
from dataclasses import replace

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.history import schema_since, traffic_runs
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan import Plan, Undo

__all__ = ["Undoable", "plan_undo", "undoing"]


class Undoable(typing.NamedTuple):
    """What the schema said: the revisions that the version was made for, and those on top of them, the last one first."""

    keep: typing.Sequence[str]
    undone: typing.Sequence[typing.Mapping[str, str]]
    """Each with ``revision``, ``phase`` and ``down``."""
    missing: typing.Sequence[str] = ()
    """What the tree has and the database has not: undone already, whatever the journal knows of that."""


def undoing(plan: Plan, observed: Observed, migrator: str) -> Plan:
    """Return ``plan`` with the version from whose tree the schema is taken back.

    Raises:
        BatonError: it is not known, one of the two trees is not on the migrator, or somebody may still use the schema.
    """
    _refuse_lost(observed)
    if migrator not in observed.reachable():
        raise BatonError(
            found=f"the migrator {migrator}, which is no app host",
            expected="an app host from which the schema can be taken back",
            fix="correct the group migrator, or go back without rollback_database; nothing was touched",
        )
    tree = plan.from_version if plan.from_version != plan.version else _last_beside(observed, plan.version)
    missing = [one for one in (tree, plan.version) if one and not observed.installed(one).get(migrator)]
    if missing or not tree:
        raise BatonError(
            found=f"{', '.join(missing)} not installed on {migrator}"
            if missing
            else f"nobody knows what came before {plan.version}",
            expected="the trees of both versions there: one knows what it needs, the other one how to undo the rest",
            fix="install it with migrate.yml (migrate_action=test, migrate_version), or take the schema back with migrate.yml"
            " (migrate_action=rollback); nothing was touched",
        )
    return replace(plan, migrator=migrator, undo=Undo(tree))


def _refuse_lost(observed: Observed) -> None:
    """Refuse to take anything away from hosts that may still serve the other version, unseen."""
    lost = observed.lost()
    if "lost" in observed.journal:
        lost["the journal"] = str(observed.journal["lost"])
    if lost:
        raise BatonError(
            found="without an answer: " + ", ".join(f"{name} ({reason})" for name, reason in lost.items()),
            expected="all of them, because the version that they may still serve needs the schema that would be taken back",
            fix="go back without rollback_database now, and take the schema back when they answer again; nothing was touched",
        )


def _last_beside(observed: Observed, version: str) -> str:
    """Return the version that the newest run was about beside ``version``, which is live already."""
    for run in traffic_runs(observed.journal):
        for one in (run.get("version"), run.get("from_version")):
            if one and one != version:
                return str(one)
    return ""


def plan_undo(plan: Plan, observed: Observed, schema: Undoable, *, past_contract: bool) -> Plan:
    """Return ``plan`` with what is undone first and last.

    Raises:
        BatonError: what would be undone leaves something behind, or a contract migration stays.
    """
    if plan.undo is None:
        raise AssertionError("the tree is chosen before the schema is read")
    undone = [one["revision"] for one in schema.undone]
    empty = [one["revision"] for one in schema.undone if one["down"] == "empty"]
    if empty:
        raise BatonError(
            found=f"migrations whose way down does nothing: {', '.join(empty)}",
            expected="a way down of each that takes back what it did",
            fix="go back without rollback_database, or undo them with migrate.yml (migrate_action=rollback) if that is right;"
            " nothing was touched",
        )
    since = schema_since(observed.journal, plan.version).contract
    left = [one for one in since if one not in {*undone, *schema.missing}]
    if left and not past_contract:
        raise BatonError(
            found="; ".join(f"{since[one]} applied {one}" for one in left) + f", which {plan.version} does not survive",
            expected=f"all of them among what {plan.undo.tree} can undo ({', '.join(undone) or 'nothing'})",
            fix="release a version that suits the schema, or set rollback_past_contract=true after undoing it; nothing was touched",
        )
    contract = [
        number for number, one in enumerate(schema.undone) if one["phase"] == "contract" or one["revision"] in since
    ]
    split = contract[-1] + 1 if contract else 0
    return replace(
        plan,
        way_back="release" if undone and plan.way_back else plan.way_back,
        undo=Undo(
            plan.undo.tree,
            keep=list(schema.keep),
            first=undone[:split],
            to=undone[split] if split and undone[split:] else "",
            last=undone[split:],
        ),
    )
