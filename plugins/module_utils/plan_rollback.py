# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""How to go back, decided from what is there: a dead host, a lost balancer or a lost journal must not stand in the way."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.history import schema_since, traffic_runs
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan import Plan, held_out, rolling_to, to_tell
from ansible_collections.baton.release.plugins.module_utils.rollout import Rollout
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, SLOTS, other

__all__ = ["plan_rollback"]


def plan_rollback(
    observed: Observed,
    *,
    version: str = "",
    sha256_of: typing.Callable[[str], str] = lambda _version: "",
    past_contract: bool = False,
    rollout: Rollout | None = None,
) -> Plan:
    """Decide how to go back to ``version``, or to the version that was live before.

    Args:
        observed: what was found.
        version: the version to go back to; "" for the one before, or the one that an interrupted run came from.
        sha256_of: returns the SHA-256 of a version's artifact, "" when it is not known.
        past_contract: whether to go past a schema change that the version does not survive.
        rollout: how it comes to traffic where it does not run any more; None for all at once.

    Raises:
        BatonError: there is no proven version to go back to, or none that the present schema is known to suit.
    """
    live_slot = _live_slot(observed)
    live_version = observed.version(live_slot) if live_slot in SLOTS else ""
    origin = "" if version else _version_before_interrupted(observed, live_slot)
    # A share that no run is at work on any more is taken back, and that is the way back.
    shared = bool(observed.shares()) and not version and not origin and live_slot in SLOTS
    if live_version and (origin == live_version or shared):
        return _keep(observed, live_slot, live_version, mode="stay")
    if version and version == live_version and observed.verified(version) and observed.running(live_slot, version):
        return _keep(
            observed, live_slot, version, mode="stay" if _interrupted(observed) or observed.shares() else "nothing"
        )
    version = version or origin or _version_before(observed, live_version)
    _refuse_unproven(observed, version, live_version)
    _refuse_other_schema(observed, version, past_contract=past_contract)
    # One that may be stopped meanwhile is staged again: where it still runs by then, that changes nothing.
    hot = [
        slot
        for slot in SLOTS
        if slot != live_slot
        and observed.running(slot, version)
        and not (live_slot in SLOTS and observed.retiring(slot))
    ]
    target = hot[0] if hot else _slot_to_stage(observed, live_slot, version)
    mode = "hot" if hot else "warm"
    proven = bool(live_version and observed.verified(live_version))
    hosts = _hosts(observed, target)
    rolling = rolling_to(target, observed, rollout or Rollout(), mode, hosts)
    held = held_out(observed, *SLOTS)
    return Plan(
        action="rollback",
        version=version,
        mode=mode,
        target_slot=target,
        from_slot=live_slot if live_slot in SLOTS else other(target),
        from_version=observed.version(other(target)) if live_slot == MIXED else live_version,
        expected={},  # going back takes each balancer from whatever it has
        sha256="" if hot else _retained(observed, version, sha256_of, hosts),
        way_back="" if not proven else "warm" if rolling and rolling.in_place else "hot",
        hosts=hosts,
        balancers=sorted(name for name, one in observed.balancers.items() if "lost" not in one),
        lost=_left_out(observed, target),
        newest_token=observed.newest_token(),
        serving=sorted(host for host in hosts if target in observed.seats(host)),
        rolling=rolling,
        shares=observed.shares(),
        closed=observed.closed(),
        out=observed.out(target),
        excluded=dict(observed.excluded),
        absent=[host for host in observed.away(other(target)) if host in hosts],
        held_out=held,
        to_tell=to_tell(observed, held),
    )


def _hosts(observed: Observed, slot: str) -> list[str]:
    """Return the app hosts that take part; one that was excluded from the slot does not: a rollback is no time to bring it back."""
    return sorted(observed.holding(slot))


def _left_out(observed: Observed, slot: str) -> dict[str, str]:
    away = {host: f"excluded: {why}" for host, why in observed.away(slot).items() if host in observed.hosts}
    return {**away, **observed.lost()}


def _keep(observed: Observed, live_slot: str, version: str, *, mode: typing.Literal["stay", "nothing"]) -> Plan:
    """Plan to leave what is live: to prove it after an interrupted run that moved nothing or has come back, or else nothing."""
    held = held_out(observed, *SLOTS)
    return Plan(
        action="rollback",
        version=version,
        mode=mode,
        target_slot=live_slot,
        from_slot=live_slot,
        from_version=version,
        expected={},
        hosts=_hosts(observed, live_slot),
        balancers=sorted(name for name, one in observed.balancers.items() if "lost" not in one),
        lost=_left_out(observed, live_slot),
        newest_token=observed.newest_token(),
        serving=_hosts(observed, live_slot),
        shares=observed.shares(),
        closed=observed.closed(),
        out=observed.out(live_slot),
        excluded=dict(observed.excluded),
        held_out=held,
        to_tell=to_tell(observed, held),
    )


def _live_slot(observed: Observed) -> str:
    """Return what is live: a slot, ``mixed`` if that is so on any balancer, or "" when the balancers disagree or none is known."""
    live = observed.live()
    if MIXED in live:
        return MIXED
    return live.pop() if len(live) == 1 else ""


def _slot_to_stage(observed: Observed, live_slot: str, version: str) -> str:
    """Return the slot in which ``version`` can be staged again without touching what serves."""
    lost = [name for name, one in observed.balancers.items() if "lost" in one]
    if lost or live_slot not in (*SLOTS, MIXED):
        raise BatonError(
            found=f"{version} is in no slot that is ready, and what is live on {', '.join(lost) or 'all balancers'} is unclear",
            expected="to know which slot is idle before it is staged again",
            fix="bring the load balancers back, then run the same command again; nothing was touched",
        )
    if live_slot in SLOTS:
        return other(live_slot)
    holding = [slot for slot in SLOTS if observed.version(slot) == version]
    if not holding:
        raise BatonError(
            found=f"an interrupted rolling update has both slots in use, and neither of them holds {version}",
            expected="one of the two versions that answer now",
            fix=f"go back to {_version_before_update(observed) or 'one of them'} first, then to {version}; nothing was touched",
        )
    return holding[0]


def _version_before_interrupted(observed: Observed, live_slot: str) -> str:
    """Return the version that an interrupted run came from, or was to go back to; "" when the newest run has ended."""
    if live_slot == MIXED:
        return _version_before_update(observed)
    newest = _interrupted(observed)
    return _origin(newest) if newest else ""


def _interrupted(observed: Observed) -> typing.Mapping[str, typing.Any] | None:
    """Return the newest run if it has not ended."""
    newest: typing.Mapping[str, typing.Any] = next(iter(traffic_runs(observed.journal)), {})
    return newest if newest.get("outcome") == "unfinished" else None


def _origin(run: typing.Mapping[str, typing.Any]) -> str:
    return str(run.get("version" if run.get("action") == "rollback" else "from_version") or "")


def _version_before_update(observed: Observed) -> str:
    """Return the version that an interrupted rolling update came from, or was to go back to."""
    for run in traffic_runs(observed.journal):
        return _origin(run)
    proven = {version for slot in SLOTS if (version := observed.version(slot)) and observed.verified(version)}
    return proven.pop() if len(proven) == 1 else ""


def _version_before(observed: Observed, live_version: str) -> str:
    """Return the version that was live before ``live_version`` came by a release (a rollback is no progress to undo)."""
    for run in observed.journal.get("runs", ()):
        if run.get("action") == "release" and run.get("version") == live_version and run.get("from_version"):
            return str(run["from_version"])
    proven = [version for version in observed.journal.get("verified", ()) if version != live_version]
    slots = [
        version
        for slot in SLOTS
        if (version := observed.version(slot)) and version != live_version and observed.verified(version)
    ]
    came_by_release = any(
        run.get("action") == "release" and run.get("version") == live_version and run.get("outcome") == "verified"
        for run in observed.journal.get("runs", ())
    )
    return next(iter([] if came_by_release else [*slots, *proven]), "")


def _refuse_unproven(observed: Observed, version: str, live_version: str) -> None:
    proven = [one for one in observed.journal.get("verified", ()) if one != live_version]
    if version and version != live_version and observed.verified(version):
        return
    found = (
        f"{version} was never verified" if version else f"no version was live before {live_version or 'what is live'}"
    )
    if version and version == live_version:
        found = f"{version} is what is live"
    raise BatonError(
        found=found,
        expected="a version that the journal, or the release's own mark, calls verified",
        fix=f"choose one with rollback_version: {', '.join(proven)}"
        if proven
        else "there is none to go back to; release another version",
    )


def _refuse_other_schema(observed: Observed, version: str, *, past_contract: bool) -> None:
    since = schema_since(observed.journal, version)
    if since.contract and not past_contract:
        raise BatonError(
            found="; ".join(f"{by} applied {one}" for one, by in since.contract.items())
            + f", a schema change that {version} does not survive",
            expected="no contract migration between the two versions",
            fix="release a version that suits the schema, or set rollback_past_contract=true after undoing it",
        )
    if since.gone:
        raise BatonError(
            found=f"{', '.join(since.gone)} undone since {version} was live",
            expected="the schema that it was proven with",
            fix=f"release it (release_version={version}), which migrates first; nothing was touched",
        )


def _retained(
    observed: Observed, version: str, sha256_of: typing.Callable[[str], str], hosts: typing.Collection[str]
) -> str:
    """Return the SHA-256 of what is installed; the build is asked only where nothing is, since it may be gone or spoiled by now."""
    installed = observed.installed(version)
    if len(set(installed.values())) > 1:
        raise BatonError(
            found=f"{version} is installed from different artifacts: {installed}",
            expected="one artifact on all hosts",
            fix="choose another rollback_version",
        )
    missing = sorted(set(hosts) - set(installed))
    built = sha256_of(version) if missing else ""
    if missing and not built:
        raise BatonError(
            found=f"{version} is no longer installed on {', '.join(missing)}, and its artifact is not known",
            expected="the retained release on every app host, or its artifact",
            fix=f"build it with build.yml (release_version={version}), then run again; nothing was touched",
        )
    return next(iter(installed.values()), built)
