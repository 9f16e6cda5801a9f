# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""How a version comes to traffic, decided from what is there and from nothing else.

Every run starts here, also the one after a crash, so there is no state of a half-done run to remember: a slot that is already
staged, a schema that is already migrated and traffic that has already moved are simply found so.
"""

from __future__ import annotations

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.history import proven, schema_since
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan import Plan, Rolling, held_out, rolling_to, to_tell
from ansible_collections.baton.release.plugins.module_utils.rollout import Rollout
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, NOTHING_LIVE, SLOTS, other

__all__ = ["plan_release"]


def plan_release(
    observed: Observed,
    *,
    version: str,
    sha256: str,
    migrator: str = "",
    over_unverified: bool = False,
    rollout: Rollout | None = None,
) -> Plan:
    """Decide how ``version`` comes to traffic.

    Args:
        observed: what was found.
        version: the version wanted.
        sha256: SHA-256 of its artifact, "" when it is not known.
        migrator: the app host that migrates the schema, "" for no migration.
        over_unverified: whether the only proven version may be replaced while what is live is not proven.
        rollout: how it comes to traffic; None for all at once.

    Raises:
        BatonError: something that a release needs is missing; nothing was touched.
    """
    rollout = rollout or Rollout()
    _refuse_closed(observed)
    _refuse_not_ready(observed)
    _refuse_lost(observed)
    _refuse_to_exclude(observed, migrator)
    _refuse_strange_migrator(observed, migrator)
    target, from_slot = _slots_for(observed, version)
    _refuse_empty(observed, from_slot)
    live_version = observed.version(from_slot) if from_slot in SLOTS else ""
    mode = _mode(observed, version, target)
    if mode in ("forward", "hot"):
        _refuse_other_schema(observed, version)
    if mode == "forward":
        mode = "first" if from_slot == NOTHING_LIVE else mode
        if not over_unverified:
            _refuse_to_lose_the_way_back(observed, live_version, target, version)
        sha256 = _artifact(observed, version, sha256)
        _refuse_without_seats(observed, rollout)
    rolling = rolling_to(target, observed, rollout, mode, list(observed.hosts))
    if mode in ("resume", "rejoin", "nothing"):
        from_slot = _proven_beside(observed, target)
        if mode == "resume" and from_slot == NOTHING_LIVE:
            from_slot, rolling = _stopped_beside(observed, target, rollout)
        live_version = observed.version(from_slot) if from_slot in SLOTS else ""
    if mode == "rejoin":
        sha256 = _installed(observed, version)
    held = held_out(observed, *([from_slot] if from_slot in SLOTS else []))
    returning = [host for host in observed.away(target) if host in observed.hosts]
    # From "mixed" there is no slot that the other clients could stay in.
    in_steps = mode in ("forward", "hot") and not rollout.rolling and observed.live() == {from_slot}
    proven = bool(live_version and observed.verified(live_version))
    return Plan(
        action="release",
        version=version,
        mode=mode,
        target_slot=target,
        from_slot=from_slot,
        from_version=live_version,
        expected=_expected(observed),
        sha256=sha256 or next(iter(observed.installed(version).values()), ""),
        way_back="" if not proven else "warm" if rolling and rolling.in_place else "hot",
        hosts=sorted(observed.hosts),
        balancers=sorted(observed.balancers),
        newest_token=observed.newest_token(),
        migrator=migrator,
        serving=sorted(host for host in observed.hosts if target in observed.seats(host) and host not in returning),
        rolling=rolling,
        traffic_steps=list(rollout.steps) if in_steps else [],
        shares=observed.shares(),
        excluded=dict(observed.excluded),
        returning=returning,
        absent=[host for host in observed.away(from_slot) if host in observed.hosts],
        held_out=held,
        to_tell=to_tell(observed, held),
        overdue=observed.overdue(other(target)) if mode == "nothing" else [],
    )


def _refuse_lost(observed: Observed) -> None:
    lost = observed.lost()
    silent = [name for name, one in observed.balancers.items() if "lost" not in one and not one["answering"]]
    if lost or silent:
        reasons = [f"{name} ({reason})" for name, reason in lost.items()] + [
            f"{name} (its load balancer does not answer)" for name in silent
        ]
        raise BatonError(
            found="without an answer: " + ", ".join(reasons),
            expected="every load balancer and every app host, because a release goes forward on all of them or not at all",
            fix="bring them back and run again, or name an app host that is known to be dead in release_excluded_hosts, with the reason;"
            " nothing was touched. rollback.yml works without them",
        )


def _refuse_closed(observed: Observed) -> None:
    """Refuse while users are not let in: no traffic would prove the version, and it would be called proven."""
    if closed := observed.closed():
        raise BatonError(
            found="the door is not open at " + ", ".join(f"{name} ({state})" for name, state in closed.items()),
            expected="users who are let in, because a version is proven by their requests",
            fix="run maintenance.yml with maintenance=false first; nothing was touched. rollback.yml works all the same",
        )


def _refuse_not_ready(observed: Observed) -> None:
    if out := observed.not_ready():
        raise BatonError(
            found=f"told to be left out: {', '.join(out)}",
            expected="every server ready, because a release has all of them serve",
            fix="bring them back with lb_switch (state servers), or name their hosts in release_excluded_hosts, and run again;"
            " nothing was touched. rollback.yml works all the same",
        )


def _refuse_to_exclude(observed: Observed, migrator: str) -> None:
    """Refuse what cannot be excluded: where one server cannot be held out, a dead host that comes back would get traffic at once."""
    if not observed.excluded:
        return
    named = ", ".join(f"{host} ({why})" for host, why in observed.excluded.items())
    cannot = sorted(set(observed.balancers) - set(observed.can_exclude()))
    if cannot:
        raise BatonError(
            found=f"to be excluded: {named}; and at {', '.join(cannot)} no single server can be held in maintenance",
            expected="that of every load balancer, because such a host may come back at any time, with an old version",
            fix="take the host out of the group app and render the load balancers' configuration again; nothing was touched",
        )
    if migrator in observed.excluded:
        raise BatonError(
            found=f"the migrator is {migrator}, which is to be excluded ({observed.excluded[migrator]})",
            expected="an app host that takes part, because it migrates from the release staged there",
            fix="name another one in the group migrator; nothing was touched",
        )


def _refuse_empty(observed: Observed, slot: str) -> None:
    """Refuse to exclude all hosts that traffic reaches now: some of the others may have come back, and have proven nothing yet."""
    if not observed.excluded or slot not in SLOTS or observed.holding(slot):
        return
    away = ", ".join(host for host in observed.away(slot) if host in observed.hosts)
    raise BatonError(
        found=f"to be excluded: {', '.join(observed.excluded)}; and in {slot}, which traffic reaches, {away} excluded before",
        expected="at least one host that serves on",
        fix=f"bring {away} back first, with the version that is live, and exclude the others then; nothing was touched",
    )


def _refuse_strange_migrator(observed: Observed, migrator: str) -> None:
    if migrator and migrator not in observed.hosts:
        raise BatonError(
            found=f"the migrator is {migrator}",
            expected=f"one of the app hosts {', '.join(observed.hosts)}, because it migrates from the release staged there",
            fix="correct the group migrator; nothing was touched",
        )


def _slots_for(observed: Observed, version: str) -> tuple[str, str]:
    """Return the slot for ``version`` and the slot that traffic comes from."""
    live = observed.live()
    already = [slot for slot in SLOTS if slot in live and observed.running(slot, version)]
    if already:
        return already[0], other(already[0])
    begun = [slot for slot in SLOTS if MIXED in live and observed.version(slot) == version]
    if begun:
        return begun[0], other(begun[0])
    if MIXED in live:
        raise BatonError(
            found="an interrupted rolling update: some hosts answer from "
            + " and others from ".join(f"{slot} ({observed.version(slot) or 'different versions'})" for slot in SLOTS),
            expected=f"{version} in one of them",
            fix="finish that update by running it again, or go back with rollback.yml; nothing was touched",
        )
    if len(live) > 1:
        holding = ", ".join(
            f"{slot} ({observed.version(slot) or 'different versions'})" for slot in sorted(live & set(SLOTS))
        )
        raise BatonError(
            found=f"the load balancers disagree: {holding} are both live",
            expected=f"one live slot, or {version} in one of them",
            fix="finish the interrupted release by running it again, or run rollback.yml; nothing was touched",
        )
    slot = live.pop()
    return (SLOTS[0], NOTHING_LIVE) if slot == NOTHING_LIVE else (other(slot), slot)


def _mode(observed: Observed, version: str, target: str) -> str:
    if not observed.running(target, version):
        return "forward"
    if observed.live() == {target}:
        if not observed.marked(version, target) or observed.shares():
            return "resume"
        return "rejoin" if set(observed.away(target)) & set(observed.hosts) else "nothing"
    if target in observed.live():
        return "resume"
    if MIXED in observed.live():
        return "forward"
    # Hot is without a migration: not after what the version was proven with has been undone. Nor is a slot that may be stopped meanwhile.
    sure = not schema_since(observed.journal, version).gone and not observed.retiring(target)
    return "hot" if sure and observed.verified(version) else "forward"


def _refuse_other_schema(observed: Observed, version: str) -> None:
    """Refuse a version that served before, and would not survive what came since; what a new one survives, its own tree says."""
    since = schema_since(observed.journal, version).contract if proven(observed.journal, version) else {}
    if since:
        raise BatonError(
            found="; ".join(f"{by} applied {one}" for one, by in since.items())
            + f", a schema change that {version} does not survive",
            expected=f"no contract migration since {version} was proven",
            fix="release a version that suits the schema, or have rollback.yml take the schema back too (rollback_database=true);"
            " nothing was touched",
        )


def _proven_beside(observed: Observed, slot: str) -> str:
    """Return the other slot if it runs a proven version, to which traffic can go back; else NOTHING_LIVE."""
    beside = other(slot)
    version = observed.version(beside)
    return beside if version and observed.running(beside, version) and observed.verified(version) else NOTHING_LIVE


def _stopped_beside(observed: Observed, slot: str, rollout: Rollout) -> tuple[str, Rolling | None]:
    """Return the other slot if it holds a proven version that was stopped, as an update in place does, and how to go back there."""
    beside = other(slot)
    version, holding = observed.version(beside), set(observed.holding(beside))
    hosts = len(holding)
    there = version and observed.verified(version) and holding <= set(observed.installed(version))
    if not there or observed.seatless() or hosts == 1:
        return NOTHING_LIVE, None
    size, in_place, floor = rollout.size(hosts) if rollout.rolling else (1, False, 0)
    size, floor = (size, floor) if in_place else (1, hosts - 1)
    return beside, Rolling([], in_place=True, size=size, floor=floor)


def _refuse_to_lose_the_way_back(observed: Observed, live_version: str, target: str, version: str) -> None:
    kept = observed.version(target)
    if live_version and kept and kept != version and observed.verified(kept) and not observed.verified(live_version):
        raise BatonError(
            found=f"{live_version} is live but was never verified, and {target}, which {version} would take, holds the proven {kept}",
            expected="a proven version to be left, live or hot",
            fix=f"finish the release of {live_version} by running it again, go back with rollback.yml, "
            "or set release_over_unverified=true to give up the hot way back",
        )


def _artifact(observed: Observed, version: str, sha256: str) -> str:
    installed = observed.installed(version)
    if sha256:
        return sha256
    if len(installed) == len(observed.hosts) and len(set(installed.values())) == 1:
        return next(iter(installed.values()))
    raise BatonError(
        found=f"no SHA-256 for {version}",
        expected="the build's manifest in app_artifact_dir, or release_sha256",
        fix=f"build it with build.yml (release_version={version}), or give release_sha256 if it was built elsewhere",
    )


def _installed(observed: Observed, version: str) -> str:
    """Return the SHA-256 of what serves: a host that comes back gets the same, whatever was built since."""
    found = set(observed.installed(version).values())
    if len(found) == 1:
        return found.pop()
    raise BatonError(
        found=f"{version} is installed from different artifacts: {', '.join(sorted(found))}",
        expected="one artifact on all hosts",
        fix="release another version; nothing was touched",
    )


def _refuse_without_seats(observed: Observed, rollout: Rollout) -> None:
    if rollout.rolling and observed.seatless():
        raise BatonError(
            found=f"{', '.join(observed.seatless())} configured without seats for the app hosts",
            expected="a load balancer that can send each host's share of the requests to that host's own slot",
            fix="render its configuration again (role caddy), or release with release_strategy=blue_green; nothing was touched",
        )


def _expected(observed: Observed) -> dict[str, str]:
    return {name: str(one["live"]) for name, one in observed.balancers.items() if "lost" not in one}
