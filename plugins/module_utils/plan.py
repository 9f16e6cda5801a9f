# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The plan: what a release or a rollback has to do, decided from what is there and from nothing else.

Every run starts here, also the one after a crash, so there is no state of a half-done run to remember: a slot that is already
staged, a schema that is already migrated and traffic that has already moved are simply found so.
"""

from __future__ import annotations

import typing
from dataclasses import asdict, dataclass, field

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS, other
from ansible_collections.baton.release.plugins.module_utils.switch import NOTHING_LIVE

__all__ = ["Observed", "Plan", "plan_release", "plan_rollback"]

STEPS_OF_MODE = {
    "first": ("stage", "migrate", "start", "prove", "switch", "verify", "watch"),
    "forward": ("stage", "migrate", "start", "prove", "switch", "verify", "watch"),
    "hot": ("prove", "switch", "verify", "watch"),
    "warm": ("stage", "start", "prove", "switch", "verify", "watch"),
    "resume": ("switch", "verify", "watch"),
    "nothing": (),
}
Facts = typing.Mapping[str, typing.Any]


@dataclass(frozen=True)
class Observed:
    """What was found. A balancer, host or journal that could not be asked is ``{"lost": reason}``."""

    balancers: typing.Mapping[str, Facts]
    hosts: typing.Mapping[str, Facts]
    journal: Facts

    def reachable(self) -> dict[str, Facts]:
        """Return the app hosts that answered."""
        return {name: host for name, host in self.hosts.items() if "lost" not in host}

    def lost(self) -> dict[str, str]:
        """Return the balancers and app hosts that did not answer, with the reason."""
        return {name: str(one["lost"]) for name, one in {**self.balancers, **self.hosts}.items() if "lost" in one}

    def live(self) -> set[str]:
        """Return what is live on the balancers that answered: one element when they agree."""
        return {str(one["live"]) for one in self.balancers.values() if "lost" not in one}

    def versions(self, slot: str) -> set[str]:
        """Return the versions that ``slot`` holds on the app hosts that answered ("" where it holds nothing)."""
        return {str(host["slots"][slot]["version"]) for host in self.reachable().values()}

    def version(self, slot: str) -> str:
        """Return the one version that ``slot`` holds everywhere, or ""."""
        versions = self.versions(slot)
        return versions.pop() if len(versions) == 1 else ""

    def running(self, slot: str, version: str) -> bool:
        """Say whether ``slot`` runs ``version``, as it was last configured, on every app host that answered."""
        slots = [host["slots"][slot] for host in self.reachable().values()]
        return bool(slots) and all(one["current"] and one["version"] == version for one in slots)

    def verified(self, version: str) -> bool:
        """Say whether the journal, or the mark of the release itself on every host that has it, calls ``version`` proven."""
        marks = [mark for host in self.reachable().values() for mark in host["releases"] if mark["version"] == version]
        return version in self.journal.get("verified", ()) or bool(
            marks and all(mark.get("verified_at") for mark in marks)
        )

    def newest_token(self) -> int:
        """Return the newest lease that any host has seen."""
        return max(
            (int(one.get("newest_token", 0)) for one in (*self.balancers.values(), *self.hosts.values())), default=0
        )

    def installed(self, version: str) -> dict[str, str]:
        """Return the app hosts that have ``version`` installed, with the SHA-256 of what it was installed from."""
        return {
            name: str(mark["sha256"])
            for name, host in self.reachable().items()
            for mark in host["releases"]
            if mark["version"] == version
        }


@dataclass(frozen=True)
class Plan:
    """What will be done; ``mode`` names the way, ``steps`` lists it."""

    action: str
    version: str
    mode: str
    target_slot: str
    from_slot: str
    from_version: str
    expected: dict[str, str]
    """For each balancer the slot that was found live: what the switch compares with."""
    sha256: str = ""
    way_back: str = ""
    """How to come back from this plan: ``hot``, ``warm`` or "" for not at all."""
    hosts: list[str] = field(default_factory=list)
    balancers: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    newest_token: int = 0
    """The newest lease that any host has seen."""
    migrator: str = ""
    """The app host that migrates; "" for no migration."""

    @property
    def steps(self) -> list[str]:
        """What will be done, in this order. A rollback is not watched: nothing better than its version is known."""
        left_out = set() if self.migrator else {"migrate"}
        left_out |= {"watch"} if self.action == "rollback" else set()
        return [step for step in STEPS_OF_MODE[self.mode] if step not in left_out]

    def parts(self, *, state_host: str) -> dict[str, list[str]]:
        """Return for each host of the run the steps that it takes part in; a host that is lost takes part in none."""
        hosts_of = {
            "stage": self.hosts,
            "migrate": [self.migrator],
            "start": self.hosts,
            **dict.fromkeys(("prove", "switch", "verify"), self.balancers),
            "watch": {*self.balancers, state_host},
        }
        everyone = {*self.hosts, *self.lost, *self.balancers, state_host}
        return {host: [step for step in self.steps if host in hosts_of[step]] for host in sorted(everyone)}

    def as_result(self) -> dict[str, typing.Any]:
        """Return the plan as plain data, with its steps."""
        return {**asdict(self), "steps": self.steps}


def plan_release(
    observed: Observed, *, version: str, sha256: str, migrator: str = "", over_unverified: bool = False
) -> Plan:
    """Decide how ``version`` comes to traffic.

    Args:
        observed: what was found.
        version: the version wanted.
        sha256: SHA-256 of its artifact, "" when it is not known.
        migrator: the app host that migrates the schema, "" for no migration.
        over_unverified: whether the only proven version may be replaced while what is live is not proven.

    Raises:
        BatonError: something that a release needs is missing; nothing was touched.
    """
    _refuse_lost(observed)
    _refuse_strange_migrator(observed, migrator)
    target, from_slot = _slots_for(observed, version)
    live_version = observed.version(from_slot) if from_slot in SLOTS else ""
    mode = _mode(observed, version, target)
    if mode == "forward":
        mode = "first" if from_slot == NOTHING_LIVE else mode
        if not over_unverified:
            _refuse_to_lose_the_way_back(observed, live_version, target, version)
        sha256 = _artifact(observed, version, sha256)
    if mode in ("resume", "nothing"):
        from_slot = _proven_beside(observed, target)
        live_version = observed.version(from_slot) if from_slot in SLOTS else ""
    return Plan(
        action="release",
        version=version,
        mode=mode,
        target_slot=target,
        from_slot=from_slot,
        from_version=live_version,
        expected=_expected(observed),
        sha256=sha256 or next(iter(observed.installed(version).values()), ""),
        way_back="hot" if live_version and observed.verified(live_version) else "",
        hosts=sorted(observed.hosts),
        balancers=sorted(observed.balancers),
        newest_token=observed.newest_token(),
        migrator=migrator,
    )


def plan_rollback(observed: Observed, *, version: str = "", sha256: str = "", past_contract: bool = False) -> Plan:
    """Decide how to go back to ``version``, or to the version that was live before.

    Raises:
        BatonError: there is no proven version to go back to, or none that the present schema is known to suit.
    """
    live = observed.live()
    live_slot = live.pop() if len(live) == 1 else ""
    live_version = observed.version(live_slot) if live_slot in SLOTS else ""
    version = version or _version_before(observed, live_version)
    _refuse_unproven(observed, version, live_version)
    _refuse_contract(observed, version, past_contract=past_contract)
    hot = [slot for slot in SLOTS if slot != live_slot and observed.running(slot, version)]
    lost_balancers = [name for name, one in observed.balancers.items() if "lost" in one]
    if not hot and (lost_balancers or live_slot not in SLOTS):
        raise BatonError(
            found=f"{version} is in no slot that is ready, and what is live on {', '.join(lost_balancers) or 'all balancers'} is unclear",
            expected="to know which slot is idle before it is staged again",
            fix="bring the load balancers back, then run the same command again; nothing was touched",
        )
    target = hot[0] if hot else other(live_slot)
    return Plan(
        action="rollback",
        version=version,
        mode="hot" if hot else "warm",
        target_slot=target,
        from_slot=live_slot or other(target),
        from_version=live_version,
        expected={},  # going back takes each balancer from whatever it has
        sha256="" if hot else _retained(observed, version, sha256),
        way_back="hot" if live_version and observed.verified(live_version) else "",
        hosts=sorted(observed.reachable()),
        balancers=sorted(name for name, one in observed.balancers.items() if "lost" not in one),
        lost=observed.lost(),
        newest_token=observed.newest_token(),
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
            fix="bring them back and run again; nothing was touched. rollback.yml works without them",
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
        return "nothing" if _marked(observed, version) else "resume"
    if target in observed.live():
        return "resume"
    return "hot" if observed.verified(version) else "forward"


def _marked(observed: Observed, version: str) -> bool:
    """Say whether nothing is left to do for ``version``: the journal and every host's release call it proven."""
    marks = [mark for host in observed.reachable().values() for mark in host["releases"] if mark["version"] == version]
    marked = len(marks) == len(observed.hosts) and all(mark.get("verified_at") for mark in marks)
    return marked and version in observed.journal.get("verified", ())


def _proven_beside(observed: Observed, slot: str) -> str:
    """Return the other slot if it runs a proven version, to which traffic can go back; else NOTHING_LIVE."""
    beside = other(slot)
    version = observed.version(beside)
    return beside if version and observed.running(beside, version) and observed.verified(version) else NOTHING_LIVE


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


def _expected(observed: Observed) -> dict[str, str]:
    return {name: str(one["live"]) for name, one in observed.balancers.items() if "lost" not in one}


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


def _refuse_contract(observed: Observed, version: str, *, past_contract: bool) -> None:
    for run in observed.journal.get("runs", ()):
        if run.get("version") == version:
            return
        if run.get("contract") and not past_contract:
            raise BatonError(
                found=f"{run['version']} applied {', '.join(run['contract'])}, a schema change that {version} does not survive",
                expected="no contract migration between the two versions",
                fix="release a version that suits the schema, or set rollback_past_contract=true after undoing it",
            )


def _retained(observed: Observed, version: str, sha256: str) -> str:
    installed = observed.installed(version)
    if len(set(installed.values())) > 1:
        raise BatonError(
            found=f"{version} is installed from different artifacts: {installed}",
            expected="one artifact on all hosts",
            fix="choose another rollback_version",
        )
    missing = sorted(set(observed.reachable()) - set(installed))
    if missing and not sha256:
        raise BatonError(
            found=f"{version} is no longer installed on {', '.join(missing)}, and its artifact is not known",
            expected="the retained release on every app host, or its artifact",
            fix=f"build it with build.yml (release_version={version}), then run again; nothing was touched",
        )
    return next(iter(installed.values()), sha256)
