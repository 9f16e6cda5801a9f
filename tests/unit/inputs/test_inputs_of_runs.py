"""Hostile inputs of the procedure: what the plan, the settings and the way in which a run was started are judged by."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.action.release_plan import make
from ansible_collections.baton.release.plugins.action.release_settings import ROLES, specs_of
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.plan_migrate import MIGRATE_ACTIONS
from ansible_collections.baton.release.plugins.module_utils.settings import Inventory, problems_in, refuse
from ansible_collections.baton.release.plugins.module_utils.settings_run import Started, complaints_of_run
from ansible_collections.baton.release.plugins.module_utils.settings_types import Unresolved
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.inputs.hostile import (
    ADDRESSES,
    ANYTHING,
    NUMBERS,
    SCALARS,
    SEEN,
    SINGLETONS,
    TEXTS,
    VERSIONS,
    WATCHMAN,
    assert_seen,
    hostile,
    paths,
)
from tests.unit.plugins.action.test_release_plan import arguments as plan_arguments


def test_release_plan(sandbox: Path) -> None:
    @hostile("release_plan")
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "action": st.sampled_from(["release", "rollback", "migrate"]),
                "database": st.booleans(),
                "excluded": st.dictionaries(st.just("app1") | TEXTS, TEXTS, max_size=2),
                "migrate_action": st.sampled_from(MIGRATE_ACTIONS),
                "revision": TEXTS,
                "version": VERSIONS,
                "sha256": TEXTS,
                "app_name": TEXTS,
                "migrator": TEXTS,
                "state_host": TEXTS,
                "play_hosts": st.lists(st.sampled_from(["lb1", "app1"]) | TEXTS, max_size=3),
                "manifest_dir": paths(sandbox, "manifests"),
                "singletons": SINGLETONS,
                "strategy": st.sampled_from(["blue_green", "rolling"]),
                "max_surge": TEXTS | NUMBERS.map(str),
                "max_unavailable": TEXTS | NUMBERS.map(str),
            },
        )
    )
    def run(changes: dict[str, Any]) -> None:
        SEEN["release_plan"] += 1
        arguments = {"max_surge": "1", "max_unavailable": "0", "strategy": "blue_green", **plan_arguments(), **changes}
        with WATCHMAN.watching(Path.cwd()), contextlib.suppress(BatonError):
            plan = make(arguments)
            assert plan.version == arguments["version"]
            # Some hostile words, such as no and 010, are sound names of tags.
            assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", plan.version)
            assert plan.version != "latest"

    run()
    assert_seen("release_plan")


SPECS, _OTHERS = specs_of(
    ROLES, ["app", "release", "traffic", "database", "secrets", "rolling", "verify", "watch", "revert", "plan"]
)
UNLIKE_JSON = (
    ANYTHING
    | st.builds(Unresolved, TEXTS.map(lambda text: text[:160]))
    | st.dictionaries(st.booleans() | st.integers(0, 9) | TEXTS, SCALARS, max_size=2)
)


@pytest.mark.usefixtures("sandbox")
def test_release_settings() -> None:
    host = st.dictionaries(st.sampled_from(sorted(SPECS)), UNLIKE_JSON, max_size=8)
    slots = st.fixed_dictionaries(
        {slot: st.fixed_dictionaries({"port": NUMBERS | SCALARS}) for slot in ("blue", "green")}
    )
    preview = st.fixed_dictionaries(dict.fromkeys(("blue", "green"), ADDRESSES))
    names = st.sampled_from(["app1", "app2", "lb1", "stranger"]) | TEXTS

    @hostile("release_settings")
    @given(
        st.dictionaries(names, host, max_size=3),
        st.dictionaries(st.sampled_from(["app", "lb", "migrator"]), st.lists(names, max_size=3), max_size=3),
        st.dictionaries(st.just("app1"), slots | preview, max_size=1),
        st.lists(TEXTS | st.sampled_from(["app_nam", "relase_version", "app_port"]), max_size=3),
    )
    def run(values: dict[str, Any], groups: dict[str, list[str]], shaped: dict[str, Any], variables: list[str]) -> None:
        SEEN["release_settings"] += 1
        for name, one in shaped.items():
            values.setdefault(name, {}).update({"app_slots": one, "traffic_preview": one})
        problems = problems_in(Inventory(groups, values, names=dict.fromkeys(values, variables)), SPECS)
        try:
            with WATCHMAN.watching(Path.cwd()):
                refuse(problems, list(values))
        except BatonError as refusal:
            lines = str(refusal).splitlines()[1:]
            assert len(lines) == len(problems) > 0
            assert all(len(line) < 2000 for line in lines)

    run()
    assert_seen("release_settings")


def test_how_the_run_was_started() -> None:
    words = st.lists(TEXTS, max_size=2)

    @hostile("how the run was started")
    @given(
        st.builds(
            Started,
            action=st.sampled_from(["release", "rollback"]),
            tags=st.just(["all"]) | words,
            skip_tags=words,
            start_at=TEXTS,
            step=st.booleans(),
            left_out=words,
            extra=st.dictionaries(st.sampled_from(["release_version", "plan_made"]) | TEXTS, UNLIKE_JSON, max_size=3),
        )
    )
    def run(started: Started) -> None:
        SEEN["how the run was started"] += 1
        found = complaints_of_run(started, settings=SPECS, own=("plan_",))
        whole = started.tags == ["all"] and not (
            started.skip_tags or started.start_at or started.step or started.left_out
        )
        assert whole or found

    run()
    assert_seen("how the run was started")
