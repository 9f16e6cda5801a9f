# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A migration outside of a release, decided from what is there: whose tree it is made from, and whether now is a time for it."""

from __future__ import annotations

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan import Plan
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, SLOTS

__all__ = ["MIGRATE_ACTIONS", "plan_migrate"]

STATUS, TEST, APPLY, ROLLBACK = "status", "test", "apply", "rollback"
MIGRATE_ACTIONS = (STATUS, TEST, APPLY, ROLLBACK)


def plan_migrate(
    observed: Observed,
    *,
    what: str,
    migrator: str,
    version: str = "",
    revision: str = "",
    sha256: str = "",
) -> Plan:
    """Decide how the schema is read, rehearsed or changed from the tree of ``version``, while no traffic moves.

    Args:
        observed: what was found.
        what: one of ``MIGRATE_ACTIONS``, which becomes the mode of the plan.
        migrator: the app host with the tree.
        version: whose tree; "" for that of the version that is live.
        revision: where to go; "" for the newest one of the tree.
        sha256: SHA-256 of the version's artifact, "" when it is not known.

    Raises:
        BatonError: something that it needs is missing, or a release is under way; nothing was touched.
    """
    _refuse_missing_migrator(observed, migrator)
    _refuse_revision(what, revision)
    changes = what in (APPLY, ROLLBACK)
    if changes:
        _refuse_lost(observed)
        _refuse_under_way(observed)
    slot = _slot(observed, migrator)
    live = observed.version(slot) if slot in SLOTS else ""
    if changes and not live:
        _refuse_different(observed, slot)
    version = version or (str(observed.hosts[migrator]["slots"][slot]["version"]) if slot in SLOTS else "")
    _refuse_nothing_live(version, slot)
    there = observed.installed(version).get(migrator, "")
    sha256 = there or _artifact(what, version, sha256, migrator)
    return Plan(
        action="migrate",
        version=version,
        mode=what,
        target_slot=slot,
        from_slot=slot,
        from_version=live,
        expected={name: str(one["live"]) for name, one in observed.balancers.items() if "lost" not in one},
        sha256=sha256,
        hosts=sorted(observed.hosts),
        balancers=sorted(observed.balancers),
        newest_token=observed.newest_token(),
        migrator=migrator,
        excluded=dict(observed.excluded),
        installed=bool(there),
        revision=revision,
    )


def _refuse_missing_migrator(observed: Observed, migrator: str) -> None:
    if migrator in observed.reachable():
        return
    why = "did not answer" if migrator in observed.hosts else "is no app host"
    why = f"is excluded ({observed.excluded[migrator]})" if migrator in observed.excluded else why
    raise BatonError(
        found=f"the migrator is {migrator}, which {why}",
        expected=f"one of the app hosts {', '.join(observed.reachable())}, because it migrates from a release there",
        fix="bring it back, or correct the group migrator; nothing was touched",
    )


def _refuse_revision(what: str, revision: str) -> None:
    if bool(revision) == (what == ROLLBACK) or what in (TEST, APPLY):
        return
    raise BatonError(
        found=f"migrate_action {what} with {f'the revision {revision}' if revision else 'no revision'}",
        expected="the revision to go down to" if what == ROLLBACK else "no revision, because all of them are shown",
        fix="give it as -e migrate_revision=..., base to undo all of them, or -1 to undo the last one; nothing was touched"
        if what == ROLLBACK
        else "leave out migrate_revision; nothing was touched",
    )


def _refuse_lost(observed: Observed) -> None:
    lost = observed.lost()
    if lost:
        raise BatonError(
            found="without an answer: " + ", ".join(f"{name} ({reason})" for name, reason in lost.items()),
            expected="every load balancer and every app host, because the schema may change only while none of them changes",
            fix="bring them back and run again; nothing was touched",
        )


def _refuse_under_way(observed: Observed) -> None:
    live, shares = observed.live(), observed.shares()
    if len(live) > 1 or MIXED in live or shares:
        found = f"a share of the clients in the other slot at {', '.join(sorted(shares))}" if shares else ""
        raise BatonError(
            found=found or f"load balancers that serve {', '.join(sorted(live))}",
            expected="one version that all clients reach",
            fix="finish the interrupted release by running it again, or run rollback.yml; nothing was touched",
        )


def _refuse_different(observed: Observed, slot: str) -> None:
    """Refuse while nobody can say which version it is that must survive the change."""
    if observed.live() == {slot}:
        raise BatonError(
            found=f"different versions in {slot}: {', '.join(sorted(version or 'nothing' for version in observed.versions(slot)))}",
            expected="one version on all app hosts, because the schema has to suit what serves",
            fix="release one of them again, or run rollback.yml; nothing was touched",
        )


def _slot(observed: Observed, migrator: str) -> str:
    """Return the slot whose secrets lead to the database: the live one, else the one that the migrator answers from."""
    live = observed.live()
    if len(live) == 1 and live <= set(SLOTS):
        return live.pop()
    seats = observed.seats(migrator) & set(SLOTS)
    held = [slot for slot in SLOTS if observed.hosts[migrator]["slots"][slot]["version"]]
    return min(seats) if seats else next((slot for slot in SLOTS if slot in live), next(iter(held), ""))


def _refuse_nothing_live(version: str, slot: str) -> None:
    if slot and version:
        return
    raise BatonError(
        found="nothing is live yet" if not slot else f"no version in {slot}",
        expected="a release on the migrator, with the secrets that lead to the database",
        fix="release the first version, which migrates the schema; nothing was touched",
    )


def _artifact(what: str, version: str, sha256: str, migrator: str) -> str:
    if what == STATUS:
        raise BatonError(
            found=f"{version} is not installed on {migrator}",
            expected="a release there whose tree can be read",
            fix="install and rehearse it with migrate_action=test, or name another one in migrate_version; nothing was touched",
        )
    if not sha256:
        raise BatonError(
            found=f"{version} is not installed on {migrator}, and there is no SHA-256 for it",
            expected="the build's manifest in app_artifact_dir, or release_sha256",
            fix=f"build it with build.yml (release_version={version}); nothing was touched",
        )
    return sha256
