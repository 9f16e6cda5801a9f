"""What befalls one app host in each phase of a release, a rolling update and a rollback: who is touched, what is live, who notices."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.slots import other

from tests.e2e.environment import Played
from tests.fleet.capacity import Capacity
from tests.fleet.faults import CRASH_LOOP, FROZEN, FULL, UNREACHABLE, WITH_A_TRIGGER, Fault, struck
from tests.fleet.prod import DOMAIN, Prod

Note = Callable[[str, object], None]

# The schema is that of all versions here from the first release on.
QUICKER: dict[str, Any] = {"database_migrate": False}
SURGE: dict[str, Any] = {"release_strategy": "rolling"}
IN_PLACE: dict[str, Any] = {**SURGE, "release_max_surge": 0, "release_max_unavailable": 1}
BOUNDED_SECONDS = 240
"""Several tasks meet the host that is gone, and each finds out for itself; a busy machine took half of this."""
PROVE = "Ask every server directly, and the slot through this load balancer"
SEAT = "Change where the batch's share of the requests goes"


@dataclass(frozen=True)
class Phase:
    """Where a fault begins: just before the ``nth`` start of a task, in words for the test's name."""

    name: str
    task: str
    nth: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    host: str = "app2"
    never: tuple[str, ...] = ()
    """Tasks that must not run on any host after the fault."""
    batches: tuple[str, ...] = ()
    """In a rolling update, the only hosts on which the version may have been started."""


INSTALL = Phase("install", "Install the version", never=("Start the version", "Switch"))
START = Phase("start", "Start the version", never=("Switch",))
SWITCH = Phase("switch", "Switch")
WATCH = Phase("watch", "Measure slice 1")
CONCLUDE = Phase("conclude", "Mark the release as proven on this host")
FIRST = Phase("first batch", "Start the version", settings=SURGE, host="app1", batches=("app1",), never=(SEAT,))
MIDDLE = Phase("middle batch", "Start the version", 2, settings=SURGE, batches=("app1", "app2"))
AFTER_ITS_BATCH = Phase("after its batch", PROVE, 2, settings=SURGE, host="app1", batches=("app1", "app2", "app3"))
FIRST_IN_PLACE = Phase("first batch in place", "Start the version", settings=IN_PLACE, host="app1", batches=("app1",))
MIDDLE_IN_PLACE = Phase("middle batch in place", "Start the version", 2, settings=IN_PLACE, batches=("app1", "app2"))


@pytest.fixture(scope="module", autouse=True)
def first(prod: Prod) -> None:
    """Have a version live that has a trigger, and the schema that all of them need."""
    prod.must("release", release_version=prod.new_version(edits=WITH_A_TRIGGER))


def cases(faults: Sequence[Fault], phases: Sequence[Phase], *, always: Sequence[tuple[Fault, Phase]] = ()) -> list[Any]:
    """Return the parameters for each fault in each phase; all but ``always`` are thorough."""
    return [
        pytest.param(
            fault,
            phase,
            id=f"{fault.name}, {phase.name}",
            marks=[] if (fault, phase) in always else [pytest.mark.thorough],
        )
        for phase in phases
        for fault in faults
    ]


def played_with(
    shop: Prod,
    fault: Fault,
    phase: Phase,
    note: Note,
    *,
    slot: str,
    again: Callable[[], Played],
    playbook: str,
    **given: Any,
) -> tuple[Played, Played]:
    """Play with the fault, and then ``again`` without it, under clients all the while; return both.

    No request may fail but those that the host had taken when it froze or crashed.
    """
    name = re.sub(r"\W+", "-", f"{playbook} {fault.name} {phase.name}")
    with struck(shop, fault, phase.host, slot=slot) as fate:
        with shop.watched(f"{name}-{time.time_ns()}") as ledgers:
            began = time.monotonic()
            played = shop.play(playbook, before=phase.task, nth=phase.nth, sabotage=fate.command, **given)
            took = time.monotonic() - began
            fate.end()
            mended = again()
        fate.ledgers = ledgers
    for title, value in (
        ("seconds", round(took)),
        ("code", played.code),
        ("requests", fate.requests),
        ("failed", fate.failed),
        ("report", report_of(played)),
    ):
        note(title, value)
    assert fate.began, f"{phase.task} was not reached:\n{played.output}"
    assert took < BOUNDED_SECONDS
    assert "Traceback" not in played.output
    assert mended.code == 0, mended.output
    assert fate.complaints() == []
    return played, mended


def report_of(played: Played) -> str:
    """Return what the run says last of itself."""
    said = re.findall(r"msg: (.*?)(?=\n\S|\n\n|\Z)", played.output, re.DOTALL)
    return " ".join(said[-1].split()) if said else ""


def names(played: Played, host: str) -> bool:
    """Say whether the host is named: as one that failed, in what was found elsewhere, or in the plan as one that is left out."""
    text = " ".join(played.output.split())
    return any(host in one for one in re.findall(r"fatal: \[[^]]+\]|Found: .*? Expected:|left out .*? TASK", text))


def release_with(shop: Prod, fault: Fault, phase: Phase, note: Note) -> tuple[Played, str]:
    """Release a new version with the fault, and again without it; return the first run, and the slot that was live after it."""
    version, slot = shop.new_version(edits=WITH_A_TRIGGER), other(shop.live())
    given = {"release_version": version, **QUICKER, **phase.settings}
    between: list[str] = []

    def again() -> Played:
        between.append(shop.live())
        return shop.play("release", **given)

    played, _ = played_with(shop, fault, phase, note, slot=slot, again=again, playbook="release", **given)
    assert played.code != 0, played.output
    assert names(played, phase.host + DOMAIN), played.output
    for task in phase.never:
        assert task not in {one["task"] for one in played.tasks if one["outcome"] == "ok"}, task
    if phase.batches:
        assert set(played.ran("Start the version")) <= {f"{host}{DOMAIN}" for host in phase.batches}
    assert shop.served()["version"] == version
    assert [shop.unit(host, slot) for host in shop.fleet.names("app")] == ["active"] * 3
    return played, between[0]


BACK = [
    *cases([UNREACHABLE, FROZEN, FULL], [INSTALL], always=[(FROZEN, INSTALL), (FULL, INSTALL)]),
    *cases([UNREACHABLE, FROZEN, FULL, CRASH_LOOP], [START], always=[(UNREACHABLE, START)]),
    *cases([FROZEN, CRASH_LOOP], [SWITCH, WATCH], always=[(CRASH_LOOP, WATCH)]),
    *cases([UNREACHABLE, FROZEN, FULL, CRASH_LOOP], [FIRST, MIDDLE], always=[(CRASH_LOOP, MIDDLE)]),
    *cases([CRASH_LOOP], [AFTER_ITS_BATCH]),
]


@pytest.mark.parametrize(("fault", "phase"), BACK)
def test_all_go_back(shop: Prod, fault: Fault, phase: Phase, record_property: Note) -> None:
    before = shop.live()
    played, live = release_with(shop, fault, phase, record_property)
    assert live == before, played.output
    assert played.ran("Mark") == []


@pytest.mark.parametrize(
    ("fault", "phase"),
    [
        *cases([UNREACHABLE, FULL], [SWITCH, WATCH]),
        *cases([UNREACHABLE, FROZEN, FULL], [CONCLUDE], always=[(FULL, CONCLUDE)]),
    ],
)
def test_what_is_proven_stays_and_the_run_fails_for_the_host_that_was_not_told(
    shop: Prod, fault: Fault, phase: Phase, record_property: Note
) -> None:
    """Nothing is done on app hosts between their start and the conclusion, and what serves there serves on."""
    before = shop.live()
    played, live = release_with(shop, fault, phase, record_property)
    assert live == other(before), played.output
    assert phase.host + DOMAIN in report_of(played), played.output


@pytest.mark.parametrize(
    ("fault", "phase"), cases([UNREACHABLE, FROZEN, CRASH_LOOP], [FIRST_IN_PLACE, MIDDLE_IN_PLACE])
)
def test_in_place_no_more_hosts_are_taken_out_than_may_be(
    shop: Prod, fault: Fault, phase: Phase, record_property: Note
) -> None:
    """All go back, but where one host is out and dead: then no other one can be taken out to be brought back."""
    before = shop.live()
    with Capacity(shop.fleet, "lb1") as capacity:
        played, live = release_with(shop, fault, phase, record_property)
    assert live == ("mixed" if (fault, phase) == (FROZEN, MIDDLE_IN_PLACE) else before), played.output
    # What is frozen counts until it is noticed, and the others do not go out meanwhile.
    assert capacity.lowest == 2


AT_LB2 = Phase("switch, lb2", "Switch", host="lb2", never=("Mark",))


@pytest.mark.parametrize(("fault", "phase"), cases([UNREACHABLE, FULL], [AT_LB2]))
def test_a_load_balancer_that_cannot_switch_sends_the_others_back(
    shop: Prod, fault: Fault, phase: Phase, record_property: Note
) -> None:
    before = shop.live()
    played, live = release_with(shop, fault, phase, record_property)
    assert live == before, played.output


LOOK = Phase("plan", "See what the load balancers serve, what the app hosts hold, and the journal")
FENCE = Phase("fence", "Fence off older runs, and see under the fence that the plan is still true")
PROOF = Phase("prove", PROVE, never=("Switch",))
VERIFY = Phase("verify", "Ask through this load balancer for the version")


def with_a_way_back(shop: Prod) -> str:
    """Have a version live with one before it that is hot and has a trigger, and return that one."""
    before: str = shop.served()["version"]
    # What a test before this one went back from is still there.
    beside = shop.fleet.ssh("app2", f"sudo cat /srv/shop/slots/{other(shop.live())}/slot.json", check=False)
    known = re.search(r'"version": "(v9[^"]*)"', beside)
    version = known[1] if known and has_trigger(shop, known[1]) else shop.new_version(edits=WITH_A_TRIGGER)
    shop.must("release", release_version=version, **QUICKER)
    return before


def has_trigger(shop: Prod, version: str) -> bool:
    """Say whether a version that is installed crashes when it is told."""
    ask = f"grep -q shop-crashes /srv/shop/releases/{version}/shop/__init__.py && echo yes"
    return "yes" in shop.fleet.ssh("app2", ask, check=False)


def roll_back_with(shop: Prod, fault: Fault, phase: Phase, note: Note) -> tuple[Played, bool]:
    """Go back to the version before with the fault, and again without it; return the first run, and whether traffic was back then."""
    version, slot = with_a_way_back(shop), other(shop.live())
    between: list[bool] = []

    def again() -> Played:
        between.append(shop.live() == slot)
        return shop.play("rollback", rollback_version=version, **QUICKER)

    given = {"rollback_version": version, **QUICKER}
    played, _ = played_with(shop, fault, phase, note, slot=slot, again=again, playbook="rollback", **given)
    assert names(played, phase.host + DOMAIN), played.output
    for task in phase.never:
        assert task not in {one["task"] for one in played.tasks if one["outcome"] == "ok"}, task
    assert (shop.live(), shop.served()["version"]) == (slot, version)
    return played, between[0]


@pytest.mark.parametrize(
    ("fault", "phase"),
    [
        *cases([UNREACHABLE, FROZEN, FULL], [LOOK], always=[(FULL, LOOK)]),
        *cases([UNREACHABLE, FULL], [FENCE]),
        *cases([UNREACHABLE, CRASH_LOOP], [VERIFY]),
    ],
)
def test_nothing_on_one_app_host_keeps_traffic_from_going_back(
    shop: Prod, fault: Fault, phase: Phase, record_property: Note
) -> None:
    played, back = roll_back_with(shop, fault, phase, record_property)
    assert back, played.output


@pytest.mark.parametrize(("fault", "phase"), [*cases([CRASH_LOOP], [LOOK, PROOF]), *cases([FROZEN], [FENCE, PROOF])])
def test_traffic_does_not_go_back_to_what_does_not_run(
    shop: Prod, fault: Fault, phase: Phase, record_property: Note
) -> None:
    played, back = roll_back_with(shop, fault, phase, record_property)
    assert played.code != 0
    assert not back, played.output
