"""The rules of the house that no linter knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
MODULES = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
TASK_FILES = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def tasks(tree: Any) -> list[dict[str, Any]]:
    """Return every task in a file, those in blocks too."""
    found: list[dict[str, Any]] = []
    for item in tree if isinstance(tree, list) else []:
        found.append(item)
        for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks"):
            found += tasks(item.get(key))
    return found


def test_the_action_group_holds_every_module() -> None:
    groups = load(ROOT / "meta" / "runtime.yml")["action_groups"]
    assert set(groups["release"]) == MODULES


def test_the_fenced_group_holds_the_modules_that_take_a_token() -> None:
    groups = load(ROOT / "meta" / "runtime.yml")["action_groups"]
    fenced = {name for name in MODULES if '"token": {' in (text := source(name)) or "FENCE_OPTIONS" in text}
    assert set(groups["fenced"]) == fenced


def source(module: str) -> str:
    return (ROOT / "plugins" / "modules" / f"{module}.py").read_text()


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_default_is_in_the_argument_spec(role: Path) -> None:
    specs = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    options = {name for spec in specs.values() for name in spec.get("options") or {}}
    path = role / "defaults" / "main.yml"
    defaults = set(load(path) or {}) if path.exists() else set()
    assert {name for name in defaults if not name.startswith("__")} <= options


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_option_that_is_not_required_has_a_default(role: Path) -> None:
    specs = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    optional = {
        name for spec in specs.values() for name, one in (spec.get("options") or {}).items() if not one.get("required")
    }
    path = role / "defaults" / "main.yml"
    assert optional <= set((load(path) or {}) if path.exists() else {})


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_task_leaves_its_host_or_may_run_nowhere(path: Path) -> None:
    """A remote delegate that is unreachable takes the delegating host along; run_once with a condition may run nowhere."""
    for task in tasks(load(path)):
        assert task.get("delegate_to", "localhost") == "localhost", task
        assert not (task.get("run_once") and "when" in task), task
        assert not task.get("ignore_errors"), task


@pytest.mark.parametrize("path", sorted(ROOT.glob("roles/*/tasks/*.yml")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_handler_carries_anything(path: Path) -> None:
    assert not any("notify" in task for task in tasks(load(path)))
