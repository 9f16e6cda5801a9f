# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The plan: what a release or a rollback has to do, and which host takes part in what."""

from __future__ import annotations

import typing
from dataclasses import asdict, dataclass, field

from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.rollout import Rollout
from ansible_collections.baton.release.plugins.module_utils.slots import NOTHING_LIVE, OUT, SLOTS, other

__all__ = ["RUNNING_ALREADY", "Plan", "Rolling", "Singletons", "Undo", "held_out", "rolling_to", "to_tell"]

BLUE_GREEN = ("start", "prove", "readmit", "share", "switch")
SINGLETONS = ("stop_singletons", "start_singletons")
MOVE = (*BLUE_GREEN[:-1], SINGLETONS[0], BLUE_GREEN[-1], SINGLETONS[1])
OF_MIGRATOR = ("install", "migrate", "read", "rehearse", "undo", "undo_first", "undo_last")
STEPS_OF_MODE = {
    "first": ("exclude", "stage", "migrate", *MOVE, "verify", "watch"),
    "forward": ("exclude", "settle", "stage", "migrate", *MOVE, "verify", "watch"),
    "hot": ("exclude", "settle", "stage", "undo_first", *MOVE, "verify", "watch", "undo_last"),
    "warm": ("exclude", "settle", "stage", "undo_first", *MOVE, "verify", "watch", "undo_last"),
    "resume": (
        "exclude",
        "stage",
        "start",
        "prove",
        "readmit",
        SINGLETONS[0],
        "switch",
        SINGLETONS[1],
        "verify",
        "watch",
    ),
    "rejoin": ("exclude", "stage", "start", "prove", "readmit", *SINGLETONS, "verify"),
    "stay": ("exclude", "settle", "undo_first", "prove", SINGLETONS[0], "switch", SINGLETONS[1], "verify", "undo_last"),
    "status": ("read",),
    "test": ("install", "rehearse"),
    "apply": ("install", "migrate"),
    "rollback": ("install", "undo"),
    "nothing": ("exclude", "sweep", "undo_first", SINGLETONS[0], "switch", SINGLETONS[1], "undo_last"),
}
"""``settle`` takes back a share of the clients that an interrupted run has left in the slot that is not live: nothing is installed or
stopped there before. ``exclude`` has the balancers hold the hosts that are left out, ``readmit`` lets those in again that come back and
have proven the version. ``share`` moves the clients in steps. Between the two steps of singletons none of them runs. What the
version that a rollback comes to would not survive is undone first, what the version that serves until then needs is undone last. The
four before the last one are those of ``migrate.yml``, which moves no traffic."""
RUNNING_ALREADY = ("hot", "resume", "rejoin")
"""The modes in which the version runs everywhere, but on hosts that come back."""


@dataclass(frozen=True)
class Rolling:
    """Traffic moves batch by batch."""

    batches: list[list[str]] = field(default_factory=list)
    """The app hosts that still have to change; none where an interrupted update has changed them all, and the way back goes in batches."""
    in_place: bool = False
    """Whether a host is drained and its old version stopped before the new one starts."""
    size: int = 1
    """App hosts in a batch, on the way back too."""
    floor: int = 1
    """Servers that every load balancer must report up at any time."""


@dataclass(frozen=True)
class Undo:
    """What a rollback undoes in the database: revisions, each list in the order in which that is done."""

    tree: str
    """The version from whose tree it is undone; the only one that is known before the schema was read."""
    keep: list[str] = field(default_factory=list)
    """The revisions that the version was made for which the rollback comes to."""
    first: list[str] = field(default_factory=list)
    """While the version before still serves: that version survives it, and the other one would not survive these migrations."""
    to: str = ""
    """The revision that is left by then; "" when nothing but ``keep`` is."""
    last: list[str] = field(default_factory=list)
    """When nobody needs them any more."""


@dataclass(frozen=True)
class Singletons:
    """Where the processes run that must exist once, when all is done, and where they have to run if that is taken back."""

    hosts: list[str] = field(default_factory=list)
    """The app hosts on which one has to be stopped or started; none where all is as it should be."""
    ends: dict[str, list[str]] = field(default_factory=dict)
    """For each host those that are stopped first, in words."""
    begins: dict[str, list[str]] = field(default_factory=dict)
    """For each host the names of those that do not run yet."""
    start: dict[str, list[str]] = field(default_factory=dict)
    """For each host the names of all that are to run there from the target slot."""
    as_before: bool = False
    """Whether these are given what they last had in that slot, and not what slot_singletons says now."""
    back: dict[str, list[str]] = field(default_factory=dict)
    """For each host the names of those that run from ``back_slot`` if this is taken back, given what they had there."""
    back_slot: str = ""
    back_version: str = ""
    unknown: dict[str, str] = field(default_factory=dict)
    """Those that are started nowhere, with the reason: their host may still run them."""


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
    """How to come back from this plan: ``hot``, ``warm``, ``release`` where the schema has to come back too, or "" for not at all."""
    hosts: list[str] = field(default_factory=list)
    balancers: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    newest_token: int = 0
    """The newest lease that any host has seen."""
    migrator: str = ""
    """The app host that migrates; "" for no migration."""
    serving: list[str] = field(default_factory=list)
    """The app hosts that answer from the target slot already; what they run is not installed again."""
    rolling: Rolling | None = None
    """How the batches go; None when all traffic moves at once or in steps."""
    traffic_steps: list[int] = field(default_factory=list)
    """Per cents of the clients that reach the target slot one after the other before all do; empty for all at once."""
    shares: dict[str, int] = field(default_factory=dict)
    """The balancers that send a share of the clients to the slot that is not live, as they were found."""
    closed: dict[str, str] = field(default_factory=dict)
    """The balancers whose door is not open, with what it is; it stays so."""
    out: list[str] = field(default_factory=list)
    """The app hosts whose server in the target slot a balancer was told to leave out; nobody waits for it to be up."""
    installed: bool = False
    """Whether the migrator has the tree of a migration outside of a release already."""
    excluded: dict[str, str] = field(default_factory=dict)
    """The app hosts that this run leaves out, with the reason: it connects to none of them."""
    returning: list[str] = field(default_factory=list)
    """The app hosts that an earlier run has excluded from the target slot; they are let in again once they have proven the version."""
    absent: list[str] = field(default_factory=list)
    """The app hosts that an earlier run has excluded from the slot that traffic comes from; they get none in it, whatever runs there."""
    held_out: dict[str, dict[str, str]] = field(default_factory=dict)
    """For each slot the app hosts that every balancer has to hold in maintenance, with the reason."""
    to_tell: list[str] = field(default_factory=list)
    """The balancers that do not hold all of them so yet."""
    overdue: list[str] = field(default_factory=list)
    """The app hosts that still run the slot that is not live though its time is over; they are asked to stop it now."""
    keep_hot: str = ""
    """How long the version before stays hot, such as "1h"; "" for as long as nothing else is installed there."""
    revision: str = ""
    """Where such a migration ends; "" for the newest revision of the tree."""
    undo: Undo | None = None
    """What a rollback undoes in the database; None when it leaves the schema as it is."""
    singletons: Singletons | None = None
    """Where the processes run that must exist once; None where there are none."""

    @property
    def strategy(self) -> str:
        """The role that moves the traffic."""
        return "rolling" if "roll" in self.steps else "blue_green"

    @property
    def changes(self) -> bool:
        """Whether there is anything that needs the lease: to look at the schema does not."""
        return not {"read", "rehearse"}.intersection(self.steps)

    @property
    def steps(self) -> list[str]:
        """What will be done, in this order. A rollback is not watched: nothing better than its version is known."""
        left_out = set() if self.migrator else {"migrate"}
        left_out |= {"install"} if self.installed else set()
        left_out |= set() if self.undo and self.undo.first else {"undo_first"}
        left_out |= set() if self.undo and self.undo.last else {"undo_last"}
        left_out |= {"switch"} if self.mode == "nothing" and "undo_last" in left_out else set()
        left_out |= {"watch"} if self.action == "rollback" else set()
        left_out |= set() if self.traffic_steps else {"share"}
        # A slot that runs the version already takes all clients from any share, unless it is to begin with fewer.
        left_out |= {"settle"} if not self.shares or (self.mode == "hot" and not self.traffic_steps) else set()
        left_out |= set() if self.to_tell else {"exclude"}
        left_out |= set() if self.returning else {"readmit"}
        left_out |= set() if self.overdue else {"sweep"}
        left_out |= set() if self.singletons and self.singletons.hosts else {*SINGLETONS}
        if self.mode in RUNNING_ALREADY and not self.returning:
            left_out |= {"stage", "start"} | ({"prove"} if self.mode == "resume" else set())
        steps = [step for step in STEPS_OF_MODE[self.mode] if step not in left_out]
        if not self.rolling or self.mode in RUNNING_ALREADY or BLUE_GREEN[0] not in steps:
            return steps
        steps[steps.index(BLUE_GREEN[0])] = "roll"
        return [step for step in steps if step not in BLUE_GREEN]

    def parts(self, *, state_host: str) -> dict[str, list[str]]:
        """Return for each host of the run the steps that it takes part in; a host that is lost takes part in none."""
        hosts_of = {
            **dict.fromkeys(("stage", "start"), self._staged),
            **{step: [self.migrator] for step in OF_MIGRATOR},
            "exclude": self.to_tell,
            "sweep": self.overdue,
            # Every host is looked at once more under the fence: a worker that outlived its run may have started one since.
            **{step: {*self.hosts, *(self.singletons.hosts if self.singletons else ())} for step in SINGLETONS},
            **dict.fromkeys(("settle", "prove", "readmit", "switch", "verify"), self.balancers),
            "roll": {*self.hosts, *self.balancers, state_host},
            "share": {*self.balancers, state_host},
            "watch": {*self.balancers, state_host},
        }
        everyone = {*self.hosts, *self.lost, *self.excluded, *self.balancers, state_host}
        return {host: [step for step in self.steps if host in hosts_of[step]] for host in sorted(everyone)}

    @property
    def _staged(self) -> list[str]:
        """The app hosts on which the version is installed and started; where it runs already, only those that come back."""
        if self.mode in RUNNING_ALREADY:
            return self.returning
        return [host for host in self.hosts if host not in self.serving]

    def as_result(self) -> dict[str, typing.Any]:
        """Return the plan as plain data, with its steps and its strategy."""
        return {**asdict(self), "steps": self.steps, "strategy": self.strategy}


def held_out(observed: Observed, *slots: str) -> dict[str, dict[str, str]]:
    """Return for each slot the hosts that every balancer has to hold in maintenance.

    These are the ones that the run excludes, and in ``slots`` those that were excluded before.
    """
    return {slot: {**(observed.away(slot) if slot in slots else {}), **observed.excluded} for slot in SLOTS}


def to_tell(observed: Observed, held: typing.Mapping[str, typing.Mapping[str, str]]) -> list[str]:
    """Return the balancers that do not hold all of them in maintenance, with these reasons; those that cannot are not told."""
    return [
        name
        for name in observed.can_exclude()
        if any(observed.holds(name, slot).get(host) != why for slot, own in held.items() for host, why in own.items())
    ]


def rolling_to(
    target: str, observed: Observed, rollout: Rollout, mode: str, hosts: typing.Collection[str]
) -> Rolling | None:
    """Return how traffic comes to ``target`` on ``hosts`` batch by batch; None where it moves at once.

    Raises:
        BatonError: the sizes of the batches make no sense for these hosts.
    """
    if not rollout.rolling or mode not in ("forward", "warm") or observed.live() <= {NOTHING_LIVE}:
        return None
    absent = observed.away(other(target))
    # A host that an interrupted run left drained comes first: as long as it is out, no other one may be. Then what comes back.
    pending = sorted(
        (host for host in hosts if observed.seats(host) != {target}),
        key=lambda host: (OUT not in observed.seats(host), host not in absent, host),
    )
    # A host that does not serve yet is no capacity that could be lost.
    serving = len(set(hosts) - set(absent))
    size, in_place, floor = rollout.size(serving)
    return Rolling(rollout.batches(pending, of=serving), in_place, size, floor)
