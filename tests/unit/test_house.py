"""The rules of the house hold here, and each of them finds what breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import house

ROOT = Path(__file__).resolve().parents[2]
# A tree in which nothing is wrong; each case below breaks one thing in it.
GOOD = {
    "meta/runtime.yml": "action_groups: {release: [switch], fenced: [switch]}",
    "plugins/modules/switch.py": "\n".join(
        (
            *house.HEADER,
            "from __future__ import annotations",
            'DOCUMENTATION = """',
            "extends_documentation_fragment: [baton.release.attributes]",
            "attributes: {check_mode: {support: full}, diff_mode: {support: none}}",
            '"""',
            "FENCE_OPTIONS = {}",
            "def main(): AnsibleModule({}, supports_check_mode=True)",
        )
    ),
    "plugins/module_utils/core.py": "\n".join((*house.HEADER, "from __future__ import annotations", "import os")),
    "plugins/action/switch.py": "\n".join(
        (*house.HEADER, "from ansible_collections.baton.release.plugins.modules import switch")
    ),
    "roles/lock/meta/main.yml": "dependencies: [{role: baton.release.app}]",
    "roles/lock/meta/argument_specs.yml": (
        "argument_specs: {main: {options: {lock_wait: {type: int}, lock_how: {type: str, choices: [a, b]}, "
        "lock_who: {type: str, required: true}}}}"
    ),
    "roles/lock/defaults/main.yml": "{lock_wait: 5, lock_how: a, __lock_private: 1}",
    "roles/lock/tasks/main.yml": "[{name: Say, ansible.builtin.debug: {msg: hello}}]",
    "playbooks/release.yml": "[{name: Go, hosts: all, roles: [{role: baton.release.lock}], tasks: [{ansible.builtin.debug: {msg: x}}]}]",
    "tests/test_it.py": "import pytest\n@pytest.mark.skipif(True, reason='needs a good reason')\ndef test(): pass\n",
    ".ansible-lint": "profile: production",
}
TASK = "roles/lock/tasks/main.yml"
SPECS = "roles/lock/meta/argument_specs.yml"
DEFAULTS = "roles/lock/defaults/main.yml"
PLAYBOOK = "playbooks/release.yml"
MODULE = "plugins/modules/switch.py"
TEST = "tests/test_it.py"
# Put together here, so that this file does not silence anything itself.
QUIET = "# no" + "qa"
UNTYPED = "# type: " + "ignore"

# The rule, the file, what is in it now, and a part of what is found.
BROKEN: list[tuple[house.Rule, str, str, str]] = [
    (house.remote_delegates, TASK, "[{name: T, ansible.builtin.debug: , delegate_to: db1}]", "delegated to db1"),
    (
        house.remote_delegates,
        TASK,
        "[{name: T, ansible.builtin.debug: , delegate_to: '{{ there }}'}]",
        "delegated to {{ there }}",
    ),
    (
        house.remote_delegates,
        TASK,
        "[{block: [{name: T, ansible.builtin.debug: , delegate_to: db1}]}]",
        "T is delegated",
    ),
    (
        house.run_once_with_a_condition,
        TASK,
        "[{name: T, ansible.builtin.debug: , run_once: true, when: x}]",
        "T runs once",
    ),
    (
        house.run_once_with_a_condition,
        TASK,
        "[{when: x, block: [{name: T, ansible.builtin.debug: , run_once: true}]}]",
        "T runs once",
    ),
    (
        house.run_once_with_a_condition,
        TASK,
        "[{run_once: true, always: [{name: T, ansible.builtin.debug: , when: x}]}]",
        "T runs once",
    ),
    (
        house.run_once_with_a_condition,
        PLAYBOOK,
        "[{hosts: a, post_tasks: [{name: T, a.b.c: , run_once: true, when: x}]}]",
        "T runs once",
    ),
    (
        house.rescues_that_others_leave,
        TASK,
        "[{name: T, block: [], rescue: []}]",
        "T is rescued while the other hosts leave",
    ),
    (house.plays_with_serial, PLAYBOOK, "[{name: P, hosts: all, serial: 2}]", "P has serial"),
    (
        house.ignored_errors,
        TASK,
        "[{rescue: [{name: T, ansible.builtin.debug: , ignore_errors: true}]}]",
        "T ignores errors",
    ),
    (house.handlers, TASK, "[{name: T, ansible.builtin.debug: , notify: restart}]", "T notifies"),
    (house.handlers, "roles/lock/handlers/main.yml", "[]", "a role with handlers"),
    (house.short_names, TASK, "[{name: T, debug: {msg: x}}]", "T calls debug"),
    (house.short_names, TASK, "[{name: T, ansible.builtin.include_role: {name: stage}}]", "the role stage"),
    (house.short_names, "roles/lock/meta/main.yml", "dependencies: [app]", "depends on app"),
    (house.short_names, PLAYBOOK, "[{hosts: all, roles: [lock]}]", "names lock"),
    (house.short_names, PLAYBOOK, "[{import_playbook: other.yml}]", "calls import_playbook"),
    (
        house.short_names,
        "molecule/default/create.yml",
        "[{hosts: all, tasks: [{name: T, command: x}]}]",
        "T calls command",
    ),
    (house.roles_without_their_parts, "roles/new/tasks/main.yml", "[]", "new has no meta/argument_specs.yml"),
    (house.roles_without_their_parts, "roles/lock/templates/x.j2", "", "lock has templates and no README.md"),
    (
        house.specs_against_defaults,
        DEFAULTS,
        "{lock_wait: 5, lock_how: a, lock_more: 1}",
        "the default lock_more is no option",
    ),
    (house.specs_against_defaults, DEFAULTS, "{lock_wait: 5}", "the option lock_how has no default"),
    (
        house.specs_against_defaults,
        DEFAULTS,
        "{lock_wait: 5, lock_how: a, lock_who: me}",
        "lock_who is required and has a default",
    ),
    (house.specs_against_defaults, DEFAULTS, "{lock_wait: soon, lock_how: a}", "the default of lock_wait"),
    (
        house.specs_against_defaults,
        DEFAULTS,
        "{lock_wait: '5', lock_how: a}",
        "lock_wait is a str, its option takes a int",
    ),
    (house.specs_against_defaults, DEFAULTS, "{lock_wait: 5, lock_how: c}", "the default of lock_how"),
    (
        house.specs_against_defaults,
        SPECS,
        "argument_specs: {main: {options: {wait: {type: int, required: true}}}}",
        "the option wait does",
    ),
    (
        house.action_groups,
        "meta/runtime.yml",
        "action_groups: {release: [], fenced: [switch]}",
        "release does not hold switch",
    ),
    (
        house.action_groups,
        "meta/runtime.yml",
        "action_groups: {release: [switch, x], fenced: [switch]}",
        "release holds x",
    ),
    (
        house.action_groups,
        "meta/runtime.yml",
        "action_groups: {release: [switch], fenced: []}",
        "fenced does not hold switch",
    ),
    (
        house.action_groups,
        "meta/runtime.yml",
        "action_groups: {release: [switch], fenced: [switch], y: []}",
        "y is not documented",
    ),
    (house.attributes, MODULE, GOOD[MODULE].replace("diff_mode", "other"), "does not document diff_mode"),
    (
        house.attributes,
        MODULE,
        GOOD[MODULE].replace("baton.release.attributes", "baton.release.fence"),
        "its action group",
    ),
    (house.attributes, MODULE, GOOD[MODULE].replace("supports_check_mode=True", ""), "its code says the opposite"),
    (house.attributes, MODULE, GOOD[MODULE].replace("support: full", "support: none"), "its code says the opposite"),
    (house.silenced_without_a_reason, "plugins/module_utils/core.py", f"x = 1  {QUIET}: E501", "core.py:1"),
    (house.silenced_without_a_reason, "plugins/module_utils/core.py", f"x = 1  {QUIET}: E501, S101 - no", "core.py:1"),
    (house.silenced_without_a_reason, TEST, f"x = 1  {UNTYPED}[arg-type]", "test_it.py:1"),
    (house.silenced_without_a_reason, TEST, f"x = 1  {UNTYPED}", "test_it.py:1"),
    (
        house.silenced_without_a_reason,
        TEST,
        f"x = 1  {UNTYPED}[misc]  # a reason\ny = 1  {QUIET}: S105",
        "test_it.py:2",
    ),
    (house.silenced_without_a_reason, TASK, f"- name: T  {QUIET}: no-changed-when", "main.yml:1"),
    (house.skipped_without_a_reason, TEST, "import pytest\n@pytest.mark.skip\ndef test(): pass\n", "a bare skip"),
    (
        house.skipped_without_a_reason,
        TEST,
        "import pytest\n@pytest.mark.skipif(True, reason='')\ndef test(): pass\n",
        "skipif without",
    ),
    (house.skipped_without_a_reason, TEST, "import pytest\n@pytest.mark.xfail()\ndef test(): pass\n", "xfail without"),
    (house.skipped_without_a_reason, TEST, "import pytest\npytest.skip()\n", "skip without"),
    (house.skipped_without_a_reason, TEST, "import pytest\npytest.importorskip('docker')\n", "importorskip without"),
    (
        house.skipped_without_a_reason,
        "tests/sanity/ignore-2.19.txt",
        "plugins/modules/switch.py pep8",
        "ignore-2.19.txt:1",
    ),
    (house.skipped_without_a_reason, ".ansible-lint", "skip_list: [fqcn]", "skip_list"),
    (house.too_new_for_managed_hosts, MODULE, GOOD[MODULE] + "\nmatch 1:\n  case 1: pass\n", "switch.py:"),
    (house.too_new_for_managed_hosts, "plugins/module_utils/core.py", "import os\n", "types are evaluated"),
    (house.plugins_without_a_header, "plugins/filter/new.py", "import os\n", "plugins/filter/new.py"),
    (
        house.imports_that_point_up,
        MODULE,
        "from ansible_collections.baton.release.plugins.action import switch\n",
        "modules/switch.py imports",
    ),
    (
        house.imports_that_point_up,
        "plugins/module_utils/core.py",
        f"import {house.OWN}.plugins.modules.switch\n",
        "core.py imports",
    ),
    (
        house.imports_that_point_up,
        "plugins/module_utils/core.py",
        "from ansible.errors import AnsibleError\n",
        "core.py imports",
    ),
    (
        house.imports_that_point_up,
        "plugins/action/switch.py",
        "from tests.house import load\n",
        "action/switch.py imports tests",
    ),
]


def name(value: object) -> str | None:
    """Name a rule in the name of a test."""
    return getattr(value, "__name__", None)


@pytest.mark.parametrize("rule", house.RULES, ids=name)
def test_the_rule_holds_here(rule: house.Rule) -> None:
    assert rule(ROOT) == []


@pytest.mark.parametrize("rule", house.RULES, ids=name)
def test_the_rule_finds_nothing_where_nothing_is_wrong(tmp_path: Path, rule: house.Rule) -> None:
    assert rule(planted(tmp_path)) == []


@pytest.mark.parametrize(
    ("rule", "file", "content", "found"), BROKEN, ids=[f"{name(rule)}-{found}" for rule, _, _, found in BROKEN]
)
def test_the_rule_finds_what_breaks_it(tmp_path: Path, rule: house.Rule, file: str, content: str, found: str) -> None:
    tree = planted(tmp_path)
    (tree / file).parent.mkdir(parents=True, exist_ok=True)
    (tree / file).write_text(content)
    wrong = rule(tree)
    assert any(found in one for one in wrong), wrong


def test_every_rule_is_seen_to_find_something() -> None:
    assert {rule for rule, *_ in BROKEN} == set(house.RULES)


def planted(root: Path) -> Path:
    """Return a small tree in which nothing is wrong."""
    for file, content in GOOD.items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_rules_look_at_something_here() -> None:
    """A rule that found no files would hold as well."""
    assert len(house.roles(ROOT)) > 10
    assert len(house.modules(ROOT)) > 5
    assert len(list(house.each_task(ROOT))) > 50
    assert len(list(house.texts(ROOT))) > 100
