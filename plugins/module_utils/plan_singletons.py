# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Where the singletons run: at most one of each at any time, of the version that is live, whatever a run before has left.

All that should not run is stopped before the traffic moves, on every host that answers; what should run is started after it. So whoever is
cut off in between leaves too few, never too many, and the next run starts what is missing.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, replace

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan import Plan, Singletons
from ansible_collections.baton.release.plugins.module_utils.singleton_settings import Singleton, host_of, singletons_of
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS, other

__all__ = ["with_singletons"]

STAYS = ("resume", "rejoin", "stay", "nothing")
"""The modes in which the target slot is live already, so that what runs from it may go on."""
AS_BEFORE = ("hot", "stay", "nothing")
"""The modes of a rollback in which nothing is installed: the slot comes back as it was."""
RUNS = ("running", "starting")

Given = typing.Mapping[str, typing.Any]
Places = dict[str, list[str]]


@dataclass(frozen=True)
class _Found:
    """A singleton that runs somewhere, or may."""

    host: str
    name: str
    slot: str
    version: str
    digest: str
    runs: bool


def with_singletons(plan: Plan, observed: Observed, given: Given) -> Plan:
    """Return ``plan`` with what it does to the singletons.

    Args:
        plan: how the version comes to traffic.
        observed: what was found.
        given: slot_singletons.

    Raises:
        BatonError: a release would have one on a host that takes no part, or ``given`` is no good.
    """
    digests = {name: one.digest for name, one in _defined(given).items()}
    found = list(_found(observed))
    known = _known(observed, plan.target_slot, plan.hosts)
    as_before = plan.action == "rollback" and plan.mode in AS_BEFORE and bool(known)
    homes, unknown = _homes(plan, observed, given)
    if as_before:
        before = _chosen(known, homes)
        # Seen on a host that answers, it is not on one that does not.
        unseen = {*before, *unknown} - {one.name for one in found}
        unknown = {name: unknown.get(name) or _dark(observed) for name in sorted(unseen) if name not in homes}
        homes = {name: host for name, host in before.items() if not unknown.get(name)}
        unknown = {name: why for name, why in unknown.items() if why}
        digests = {name: known[host][name] for name, host in homes.items()}
    stays = [
        one
        for one in found
        if plan.mode in STAYS
        and one.runs
        and (one.slot, homes.get(one.name), digests.get(one.name)) == (plan.target_slot, one.host, one.digest)
    ]
    ends, begins = [one for one in found if one not in stays], {*homes} - {one.name for one in stays}
    back_slot, back = _back(plan, observed, found, homes)
    if not (homes or found or unknown):
        return plan
    return replace(
        plan,
        singletons=Singletons(
            hosts=sorted({*(one.host for one in ends), *(homes[name] for name in begins)}),
            ends=_by_host((one.host, f"{one.name} of {one.version} in {one.slot}") for one in ends),
            begins=_by_host((homes[name], name) for name in sorted(begins)),
            start=_by_host((host, name) for name, host in sorted(homes.items())),
            as_before=as_before,
            back=_by_host((host, name) for name, host in sorted(back.items())),
            back_slot=back_slot,
            back_version=plan.version if back_slot == plan.target_slot else plan.from_version,
            unknown=unknown,
        ),
    )


def _defined(given: Given) -> dict[str, Singleton]:
    """Return what each is given, of which each needs a command here."""
    found = singletons_of(given)
    for name, one in found.items():
        if one is None:
            raise BatonError(
                found=f"slot_singletons.{name} without a command",
                expected="what runs it, word by word",
                fix="add it; nothing was touched",
            )
    return {name: one for name, one in found.items() if one}


def _found(observed: Observed) -> typing.Iterator[_Found]:
    for host, facts in observed.reachable().items():
        for one in facts.get("singletons", ()):
            name, slot, version, digest = (str(one[key]) for key in ("name", "slot", "version", "digest"))
            yield _Found(host, name, slot, version, digest, runs=one["state"] in RUNS)


def _known(observed: Observed, slot: str, hosts: typing.Collection[str]) -> dict[str, dict[str, str]]:
    """Return for each of ``hosts`` what its ``slot`` remembers, name to digest; not the hosts on which none was ever asked for."""
    told = {host: facts["slots"][slot].get("singletons") for host, facts in observed.reachable().items()}
    return {host: dict(one) for host, one in told.items() if one is not None and host in hosts}


def _homes(plan: Plan, observed: Observed, given: Given) -> tuple[dict[str, str], dict[str, str]]:
    """Return the host of each singleton of the settings, and of those that can be started nowhere the reason."""
    homes, unknown = {}, {}
    taking_part = [host for host in observed.hosts if host in plan.hosts or "lost" in observed.hosts[host]]
    for name in given:
        host = host_of(given, name) or next(iter(taking_part), "")
        if host in plan.hosts:
            homes[name] = host
        elif plan.action == "release":
            raise BatonError(
                found=f"the singleton {name} on {host}",
                expected=f"one of {', '.join(plan.hosts)}, which take part",
                fix="correct slot_singletons; nothing was touched",
            )
        else:
            why = plan.lost.get(host) or ("excluded" if host in observed.excluded else "it takes no part")
            unknown[name] = f"{host} ({why})"
    return homes, unknown


def _dark(observed: Observed) -> str:
    """Return the app hosts of which nobody knows what they run, "" for none."""
    lost = (f"{host} ({observed.hosts[host]['lost']})" for host in observed.hosts if "lost" in observed.hosts[host])
    return ", ".join(lost)


def _chosen(known: typing.Mapping[str, typing.Collection[str]], preferred: typing.Mapping[str, str]) -> dict[str, str]:
    """Return one host for each name that is known on some, that of ``preferred`` if it is one of them."""
    chosen: dict[str, str] = {}
    for host, names in known.items():
        for name in names:
            if name not in chosen or preferred.get(name) == host:
                chosen[name] = host
    return chosen


def _back(
    plan: Plan, observed: Observed, found: typing.Sequence[_Found], homes: typing.Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """Return from which slot they run if the plan is taken back, and on which hosts: as it is now, or was before it was cut off."""
    slot = plan.target_slot if plan.mode in STAYS[1:] else plan.from_slot
    if slot not in SLOTS:
        return other(plan.target_slot), {}
    running = {one.name: one.host for one in found if one.runs and one.slot == slot}
    # What runs on a host that does not answer is not known, so what ran elsewhere once is not either.
    known = {} if observed.reachable() != observed.hosts else _known(observed, slot, observed.reachable())
    for name, host in running.items():
        known.setdefault(host, {}).setdefault(name, "")
    return slot, _chosen(known, {**homes, **running})


def _by_host(pairs: typing.Iterable[tuple[str, str]]) -> Places:
    places: Places = {}
    for host, text in pairs:
        places.setdefault(host, []).append(text)
    return places
