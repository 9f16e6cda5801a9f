"""The plan, as a table of situations: what is there, what is wanted, what must be decided or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan import Plan
from ansible_collections.baton.release.plugins.module_utils.plan_release import plan_release
from ansible_collections.baton.release.plugins.module_utils.plan_rollback import plan_rollback

SHA = "a" * 64
HOSTS = ("app1", "app2")


def slot(version: str = "", *, current: bool = True, verified: bool = True) -> dict[str, Any]:
    state = "running" if current and version else "absent"
    return {"version": version, "state": state, "current": bool(current and version), "verified": verified}


def host(blue: dict[str, Any], green: dict[str, Any], releases: dict[str, bool] | None = None) -> dict[str, Any]:
    """``releases`` maps each installed version to whether it is marked as verified."""
    known = releases if releases is not None else {s["version"]: s["verified"] for s in (blue, green) if s["version"]}
    marks = [
        {"version": version, "sha256": SHA, **({"verified_at": 1.0} if proven else {})}
        for version, proven in known.items()
    ]
    return {"slots": {"blue": blue, "green": green}, "releases": marks}


def balancer(live: str, *, answering: bool = True) -> dict[str, Any]:
    return {"live": live, "previous": "none", "answering": answering, "pools": {}}


def journal(*runs: dict[str, Any]) -> dict[str, Any]:
    verified = dict.fromkeys(run["version"] for run in runs if run["outcome"] == "verified")
    return {"runs": list(runs), "verified": list(verified), "lease": {"token": len(runs)}}


def ran(
    version: str,
    outcome: str = "verified",
    *,
    action: str = "release",
    source: str = "",
    contract: tuple[str, ...] = (),
) -> dict[str, Any]:
    return {
        "version": version,
        "outcome": outcome,
        "action": action,
        "from_version": source,
        "contract": list(contract),
    }


def world(
    live: str,
    blue: dict[str, Any],
    green: dict[str, Any],
    *runs: dict[str, Any],
    releases: dict[str, bool] | None = None,
) -> Observed:
    return Observed({"lb1": balancer(live)}, {name: host(blue, green, releases) for name in HOSTS}, journal(*runs))


FRESH = world("none", slot(), slot())
FIRST_DONE = world("blue", slot("v1"), slot(), ran("v1"))
SECOND_DONE = world("green", slot("v1"), slot("v2"), ran("v2", source="v1"), ran("v1"))
BAD_TAKEN_BACK = world(
    "green",
    slot("v3", current=False, verified=False),
    slot("v2"),
    ran("v3", "reverted", source="v2"),
    ran("v2", source="v1"),
    ran("v1"),
    releases={"v1": True, "v2": True, "v3": False},
)


@pytest.mark.parametrize(
    ("observed", "version", "expected"),
    [
        pytest.param(FRESH, "v1", ("first", "blue", "none", ""), id="nothing is live yet"),
        pytest.param(
            FIRST_DONE, "v2", ("forward", "green", "blue", "hot"), id="the next version goes to the idle slot"
        ),
        pytest.param(FIRST_DONE, "v1", ("nothing", "blue", "none", ""), id="what is live and proven needs nothing"),
        pytest.param(SECOND_DONE, "v1", ("hot", "blue", "green", "hot"), id="an older version that still runs is hot"),
        pytest.param(BAD_TAKEN_BACK, "v4", ("forward", "blue", "green", "hot"), id="a stopped bad version is replaced"),
        pytest.param(
            BAD_TAKEN_BACK,
            "v3",
            ("forward", "blue", "green", "hot"),
            id="a bad version may be tried again, from the start",
        ),
        pytest.param(
            world("green", slot("v1"), slot("v2", verified=False), ran("v2", "unfinished", source="v1"), ran("v1")),
            "v2",
            ("resume", "green", "blue", "hot"),
            id="killed in the watch: the same command finishes it",
        ),
        pytest.param(
            world("green", slot("v1"), slot("v2"), ran("v2", "unfinished", source="v1"), ran("v1")),
            "v2",
            ("resume", "green", "blue", "hot"),
            id="killed before the journal was told: the same command tells it",
        ),
        pytest.param(
            world(
                "blue",
                slot("v1"),
                slot("v2", current=False, verified=False),
                ran("v2", "unfinished", source="v1"),
                ran("v1"),
            ),
            "v2",
            ("forward", "green", "blue", "hot"),
            id="killed in stage: the same command stages again",
        ),
        pytest.param(
            world("blue", slot("v1"), slot("v2", verified=False), ran("v2", "unfinished", source="v1"), ran("v1")),
            "v2",
            ("forward", "green", "blue", "hot"),
            id="killed before the switch: a running but unproven version is proven again",
        ),
        pytest.param(
            world("blue", slot("v1", verified=False), slot(), ran("v1", "failed")),
            "v2",
            ("forward", "green", "blue", ""),
            id="a first release that failed does not block its fix",
        ),
        pytest.param(
            Observed(
                {"lb1": balancer("green"), "lb2": balancer("blue")},
                {name: host(slot("v1"), slot("v2", verified=False)) for name in HOSTS},
                journal(ran("v2", "unfinished", source="v1"), ran("v1")),
            ),
            "v2",
            ("resume", "green", "blue", "hot"),
            id="killed between two balancers: the second one follows",
        ),
    ],
)
def test_release(observed: Observed, version: str, expected: tuple[str, str, str, str]) -> None:
    plan = plan_release(observed, version=version, sha256=SHA)
    assert (plan.mode, plan.target_slot, plan.from_slot, plan.way_back) == expected


def test_release_compares_each_balancer_with_what_was_seen_on_it() -> None:
    observed = Observed(
        {"lb1": balancer("green"), "lb2": balancer("blue")},
        {name: host(slot("v1"), slot("v2")) for name in HOSTS},
        journal(ran("v2", "unfinished"), ran("v1")),
    )
    assert plan_release(observed, version="v2", sha256=SHA).expected == {"lb1": "green", "lb2": "blue"}


LOST = {"lost": "unreachable"}


@pytest.mark.parametrize(
    ("observed", "version", "found"),
    [
        pytest.param(
            Observed({"lb1": LOST}, FIRST_DONE.hosts, FIRST_DONE.journal),
            "v2",
            "lb1 (unreachable)",
            id="a balancer is lost",
        ),
        pytest.param(
            Observed(FIRST_DONE.balancers, {**FIRST_DONE.hosts, "app2": LOST}, FIRST_DONE.journal),
            "v2",
            "app2 (unreachable)",
            id="a host is lost",
        ),
        pytest.param(
            Observed({"lb1": balancer("blue", answering=False)}, FIRST_DONE.hosts, FIRST_DONE.journal),
            "v2",
            "does not answer",
            id="a silent balancer",
        ),
        pytest.param(
            Observed({"lb1": balancer("blue"), "lb2": balancer("green")}, SECOND_DONE.hosts, SECOND_DONE.journal),
            "v3",
            "disagree",
            id="balancers disagree",
        ),
        pytest.param(
            world("green", slot("v1"), slot("v2", verified=False), ran("v2", "unfinished", source="v1"), ran("v1")),
            "v3",
            "never verified",
            id="the only proven version would be lost",
        ),
    ],
)
def test_release_is_refused(observed: Observed, version: str, found: str) -> None:
    with pytest.raises(BatonError, match="To do") as refusal:
        plan_release(observed, version=version, sha256=SHA)
    assert found in str(refusal.value)


def test_the_operator_may_give_up_the_only_proven_version() -> None:
    observed = world("green", slot("v1"), slot("v2", verified=False), ran("v2", "unfinished", source="v1"), ran("v1"))
    assert plan_release(observed, version="v3", sha256=SHA, over_unverified=True).target_slot == "blue"


def test_release_without_a_checksum_is_refused_unless_installed_everywhere() -> None:
    with pytest.raises(BatonError, match="no SHA-256"):
        plan_release(FIRST_DONE, version="v2", sha256="")
    assert plan_release(BAD_TAKEN_BACK, version="v3", sha256="").sha256 == SHA


@pytest.mark.parametrize(
    ("observed", "version", "expected"),
    [
        pytest.param(SECOND_DONE, "", ("v1", "hot", "blue"), id="hot, to what was live before"),
        pytest.param(SECOND_DONE, "v1", ("v1", "hot", "blue"), id="hot, named"),
        pytest.param(
            SECOND_DONE, "v2", ("v2", "nothing", "green"), id="to what is live, as the command run again says"
        ),
        pytest.param(
            world("blue", slot("v1"), slot("v2"), ran("v1", "unfinished", action="rollback"), ran("v2", source="v1")),
            "v1",
            ("v1", "stay", "blue"),
            id="to what is live, and a run was interrupted",
        ),
        pytest.param(BAD_TAKEN_BACK, "", ("v1", "warm", "blue"), id="warm, as both slots are taken"),
        pytest.param(BAD_TAKEN_BACK, "v1", ("v1", "warm", "blue"), id="warm, named"),
        pytest.param(
            world("green", slot("v1"), slot("v2", verified=False), ran("v2", "unfinished", source="v1"), ran("v1")),
            "",
            ("v1", "hot", "blue"),
            id="from a version that was never proven",
        ),
        pytest.param(
            world(
                "blue",
                slot("v1"),
                slot("v2", verified=False),
                ran("v2", "unfinished", source="v1"),
                ran("v1", source="v0"),
            ),
            "",
            ("v1", "stay", "blue"),
            id="from a release that was interrupted before traffic moved",
        ),
        pytest.param(
            world(
                "green",
                slot("v1"),
                slot("v2"),
                ran("v1", "unfinished", action="rollback"),
                ran("v2", source="v1"),
                ran("v1"),
            ),
            "",
            ("v1", "hot", "blue"),
            id="after a rollback that was interrupted before traffic moved",
        ),
        pytest.param(
            world(
                "blue",
                slot("v1"),
                slot("v2"),
                ran("v1", "unfinished", action="rollback"),
                ran("v2", source="v1"),
                ran("v1"),
            ),
            "",
            ("v1", "stay", "blue"),
            id="after a rollback that was interrupted when traffic had moved",
        ),
        pytest.param(
            Observed(SECOND_DONE.balancers, SECOND_DONE.hosts, {"lost": "unreachable"}),
            "",
            ("v1", "hot", "blue"),
            id="without the journal the releases' own marks are enough",
        ),
        pytest.param(
            Observed(SECOND_DONE.balancers, {**SECOND_DONE.hosts, "app2": LOST}, SECOND_DONE.journal),
            "",
            ("v1", "hot", "blue"),
            id="a dead app host does not block the way back",
        ),
        pytest.param(
            Observed({**SECOND_DONE.balancers, "lb2": LOST}, SECOND_DONE.hosts, SECOND_DONE.journal),
            "",
            ("v1", "hot", "blue"),
            id="a hot rollback goes on without a lost balancer",
        ),
    ],
)
def test_rollback(observed: Observed, version: str, expected: tuple[str, str, str]) -> None:
    plan: Plan = plan_rollback(observed, version=version)
    assert (plan.version, plan.mode, plan.target_slot) == expected
    assert plan.expected == {}


def test_a_rollback_says_which_hosts_it_left_out() -> None:
    observed = Observed(SECOND_DONE.balancers, {**SECOND_DONE.hosts, "app2": LOST}, SECOND_DONE.journal)
    assert plan_rollback(observed).lost == {"app2": "unreachable"}


@pytest.mark.parametrize(
    ("observed", "version", "found"),
    [
        pytest.param(FIRST_DONE, "", "no version was live before v1", id="there is none"),
        pytest.param(FRESH, "", "no version was live before", id="nothing is live"),
        pytest.param(SECOND_DONE, "v9", "v9 was never verified", id="unknown version"),
        pytest.param(
            world("green", slot("v1"), slot("v2", verified=False), ran("v2", "unfinished", source="v1"), ran("v1")),
            "v2",
            "v2 is what is live",
            id="what is live already, and was never proven",
        ),
        pytest.param(BAD_TAKEN_BACK, "v3", "v3 was never verified", id="a version that failed"),
        pytest.param(
            world("green", slot("v1"), slot("v2"), ran("v2", source="v1", contract=("0007",)), ran("v1")),
            "",
            "0007",
            id="past a contract migration",
        ),
        pytest.param(
            world(
                "blue",
                slot("v1"),
                slot("v9", verified=False),
                ran("v1", action="rollback", source="v2"),
                ran("v2", source="v1"),
                ran("v1"),
            ),
            "",
            "no version was live before v1",
            id="a rollback is not undone by a second one",
        ),
        pytest.param(
            Observed({"lb1": LOST}, BAD_TAKEN_BACK.hosts, BAD_TAKEN_BACK.journal),
            "v1",
            "unclear",
            id="warm, but what is live is unknown",
        ),
        pytest.param(
            world(
                "green",
                slot("v3"),
                slot("v2"),
                ran("v3", source="v2"),
                ran("v2", source="v1"),
                ran("v1"),
                releases={"v2": True, "v3": True},
            ),
            "v1",
            "no longer installed",
            id="warm, but the release was removed",
        ),
    ],
)
def test_rollback_is_refused(observed: Observed, version: str, found: str) -> None:
    with pytest.raises(BatonError, match="To do") as refusal:
        plan_rollback(observed, version=version)
    assert found in str(refusal.value)


def test_a_rollback_to_one_version_of_two_artifacts_is_refused() -> None:
    app2 = BAD_TAKEN_BACK.hosts["app2"]
    other_build = [{**mark, "sha256": "b" * 64} if mark["version"] == "v1" else mark for mark in app2["releases"]]
    hosts = {**BAD_TAKEN_BACK.hosts, "app2": {**app2, "releases": other_build}}
    with pytest.raises(BatonError, match="v1 is installed from different artifacts"):
        plan_rollback(Observed(BAD_TAKEN_BACK.balancers, hosts, BAD_TAKEN_BACK.journal), version="v1")


def test_the_operator_may_go_past_a_contract_migration() -> None:
    observed = world("green", slot("v1"), slot("v2"), ran("v2", source="v1", contract=("0007",)), ran("v1"))
    assert plan_rollback(observed, past_contract=True).version == "v1"


@pytest.mark.parametrize(
    "decide",
    [
        pytest.param(lambda seen: plan_release(seen, version="v3", sha256=SHA), id="release"),
        pytest.param(plan_rollback, id="rollback"),
        pytest.param(lambda seen: plan_rollback(seen, version="v2"), id="rollback to what is live"),
    ],
)
@pytest.mark.parametrize("on", ["lb1", "app2"])
def test_the_newest_lease_of_any_host_is_known(decide: Callable[[Observed], Plan], on: str) -> None:
    """A state host that is new, or has lost its memory, would else give leases that the other hosts refuse."""
    seen = {name: {**one, "newest_token": 41 if name == on else 3} for name, one in SECOND_DONE.hosts.items()}
    lb1 = {**SECOND_DONE.balancers["lb1"], "newest_token": 41 if on == "lb1" else 0}
    assert decide(Observed({"lb1": lb1}, seen, SECOND_DONE.journal)).newest_token == 41
