"""--check prints the plan that the real run then follows, and changes nothing anywhere."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.environment import Environment


def plan_of(output: str) -> list[str]:
    """Return the lines of the plan in a playbook's output."""
    lines = output.splitlines()
    first = next(number for number, line in enumerate(lines) if " way " in line) - 1
    last = next(number for number, line in enumerate(lines) if " way back " in line)
    return [line.strip() for line in lines[first : last + 1]]


def test_on_a_fresh_environment(fresh: Environment) -> None:
    files, schema = fresh.snapshot(), fresh.schema()
    played = fresh.play("release", "--check", release_version="v1.0.0")
    assert played.code == 0, played.output
    assert "first: nothing is live yet" in played.output
    assert played.changed() == []
    assert (fresh.snapshot(), fresh.schema(), fresh.live()) == (files, schema, "none")
    real = fresh.must("release", release_version="v1.0.0")
    assert plan_of(real.output) == plan_of(played.output)


@pytest.mark.parametrize("settings", [{}, {"release_strategy": "rolling"}], ids=["blue-green", "rolling"])
def test_on_a_released_environment(shop: Environment, settings: dict[str, Any]) -> None:
    version = shop.new_version()
    files, schema, pids = shop.snapshot(), shop.schema(), shop.pids()
    played = shop.play("release", "--check", release_version=version, **settings)
    assert played.code == 0, played.output
    assert f"release shop {version}" in played.output
    assert played.changed() == []
    assert (shop.snapshot(), shop.schema(), shop.pids()) == (files, schema, pids)


def test_a_rollback_can_be_checked_too(shop: Environment) -> None:
    first = shop.served()["version"]
    assert shop.release(shop.new_version()).code == 0
    files = shop.snapshot()
    played = shop.play("rollback", "--check")
    assert played.code == 0, played.output
    assert f"rollback shop {first}" in played.output
    assert (played.changed(), shop.snapshot()) == ([], files)
