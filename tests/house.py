"""The rules of the house that no linter knows: each takes the root of a tree and returns what is wrong there, a sentence each."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.playbook.handler import Handler

Rule = Callable[[Path], list[str]]

HEADER = ("# Copyright: the baton.release founders", "# GNU General Public License v3.0+ (see LICENSE)")
COLLECTION = "baton.release."
OWN = "ansible_collections.baton.release"
BLOCKS = ("block", "rescue", "always")
LISTS_OF_TASKS = ("tasks", "pre_tasks", "post_tasks", "handlers")
ROLE_ACTIONS = ("include_role", "import_role")
# What a task may have beside its action; what else it has is the action.
KEYWORDS = frozenset(Handler.fattributes) - {"action"}
# A file of ours that is read as text: what the code says about itself.
TEXTS = ("*.py", "*.yml", "*.yaml", "*.sh", "*.toml", "*.txt", "*.cfg", "Makefile", ".ansible-lint", ".yamllint")
OURS = ("plugins", "tests", "roles", "playbooks", "inventories", "meta", "molecule", "examples")
SILENCERS = re.compile(
    r"(?:#\s*(?:noqa|type:\s*ignore|nosec|pragma:|pylint:|fmt:\s*(?:off|skip)|yamllint\s+disable|shellcheck\s+disable))(?P<rest>.*)"
)
CODES = re.compile(r"^(?::?\s*[A-Z]+[0-9]+(?:\s*,\s*[A-Z]+[0-9]+)*|\[[a-z, -]+\]|:?\s*[a-z-]+(?:\[[a-z-]+\])?)?")
SKIPPERS = {"skip", "skipif", "xfail", "importorskip", "skip_module"}
# As many as "as above" has.
FEWEST_LETTERS = 7
PARTS = "plugins/module_utils/part_{}.py"
BELOW: dict[str, tuple[str, ...]] = {
    "": (".plugins.module_utils",),
    "action": (".plugins.module_utils", ".plugins.modules", ".plugins.plugin_utils"),
}
"""What the plugins of a directory may import of the collection, and, as "", those of all others."""


def load(path: Path) -> Any:
    """Return what a YAML file holds; ``!unsafe`` and other tags of Ansible are read as plain values."""
    return yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader that knows more tags


class _Loader(yaml.SafeLoader):
    """Reads Ansible's own tags as plain values."""


_Loader.add_multi_constructor("!", lambda loader, _, node: loader.construct_scalar(node))


def roles(root: Path) -> list[Path]:
    """Return the directories of all roles."""
    return sorted(path for path in (root / "roles").glob("*") if path.is_dir())


def modules(root: Path) -> dict[str, str]:
    """Return the source of every module by its name, with that of the part which does its work, where it is one."""
    return {
        path.stem: "\n".join(one.read_text() for one in (path, root / PARTS.format(path.stem)) if one.exists())
        for path in sorted((root / "plugins" / "modules").glob("*.py"))
    }


def tasks(tree: Any, inherited: tuple[str, ...] = ()) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """Yield every task and block below ``tree``, each with the keywords of the blocks around it."""
    for item in tree if isinstance(tree, list) else []:
        if not isinstance(item, dict):
            continue
        plays = [key for key in LISTS_OF_TASKS if key in item]
        if not plays and "hosts" not in item and "import_playbook" not in item:
            yield item, inherited
        given = (*inherited, *item)
        for key in (*BLOCKS, *plays):
            yield from tasks(item.get(key), given)


def task_files(root: Path) -> list[Path]:
    """Return every file of tasks and every playbook, of the collection and of its scenarios."""
    patterns = (
        "roles/*/tasks/**/*.yml",
        "roles/*/handlers/*.yml",
        "playbooks/*.yml",
        "playbooks/tasks/*.yml",
        "molecule/*/*.yml",
    )
    return sorted(path for pattern in patterns for path in root.glob(pattern) if path.name != "molecule.yml")


def each_task(root: Path) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield for every task where it is, itself, and what it inherits."""
    for path in task_files(root):
        for task, inherited in tasks(load(path)):
            yield f"{path.relative_to(root)}: {task.get('name', task)}", task, inherited


def remote_delegates(root: Path) -> list[str]:
    """A remote delegate that is unreachable takes the delegating host along, out of the rescue."""
    return [
        f"{where} is delegated to {task['delegate_to']}"
        for where, task, _ in each_task(root)
        if task.get("delegate_to", "localhost") != "localhost" or "local_action" in task
    ]


def run_once_with_a_condition(root: Path) -> list[str]:
    """A task that runs once runs nowhere if its condition is false on the first host, also if it inherits one of the two."""
    wrong = []
    for where, task, inherited in each_task(root):
        own = {*task}
        if {"run_once", "when"} <= {*own, *inherited} and own & {"run_once", "when"}:
            wrong.append(f"{where} runs once and has a condition")
    return wrong


def rescues_that_others_leave(root: Path) -> list[str]:
    """Where errors are fatal to all, a rescue keeps its own host and sends all others out of the steps around it."""
    return [
        f"{where} is rescued while the other hosts leave"
        for where, task, _ in each_task(root)
        if where.startswith("roles/") and "rescue" in task and task.get("any_errors_fatal") is not False
    ]


def plays_with_serial(root: Path) -> list[str]:
    """With serial an unreachable host does not stop later batches, and earlier ones cannot go back."""
    plays = ((path, play) for path in sorted(root.glob("playbooks/*.yml")) for play in load(path) or [])
    return [f"{path.relative_to(root)}: {play.get('name')} has serial" for path, play in plays if "serial" in play]


def ignored_errors(root: Path) -> list[str]:
    """What may fail says so with failed_when, or in a rescue."""
    return [f"{where} ignores errors" for where, task, _ in each_task(root) if "ignore_errors" in task]


def handlers(root: Path) -> list[str]:
    """Handlers are lost when a run is interrupted."""
    wrong = [f"{where} notifies a handler" for where, task, _ in each_task(root) if "notify" in task]
    return wrong + [f"{path.relative_to(root)}: a role with handlers" for path in root.glob("roles/*/handlers")]


def short_names(root: Path) -> list[str]:
    """A module, role or playbook is called by its full name: what a short one means depends on what else is installed."""
    wrong = []
    for where, task, _ in each_task(root):
        for action in set(task) - KEYWORDS - {*BLOCKS}:
            if action.count(".") < 2:
                wrong.append(f"{where} calls {action}")
            elif action.rsplit(".", 1)[-1] in ROLE_ACTIONS and not str(task[action].get("name")).startswith(COLLECTION):
                wrong.append(f"{where} includes the role {task[action].get('name')}")
    for path in sorted(root.glob("roles/*/meta/main.yml")):
        dependencies = [one["role"] if isinstance(one, dict) else one for one in load(path).get("dependencies") or []]
        wrong += [
            f"{path.relative_to(root)}: depends on {one}" for one in dependencies if not one.startswith(COLLECTION)
        ]
    for path in (*sorted(root.glob("playbooks/*.yml")), *sorted(root.glob("molecule/*/*.yml"))):
        plays = load(path)
        for play in plays if isinstance(plays, list) else []:
            named = [one["role"] if isinstance(one, dict) else one for one in play.get("roles") or []]
            imported = play.get("ansible.builtin.import_playbook")
            named += [imported] if imported and not imported.endswith(".yml") else []
            wrong += [f"{path.relative_to(root)}: names {one}" for one in named if not one.startswith(COLLECTION)]
            wrong += [f"{path.relative_to(root)}: calls import_playbook"] if "import_playbook" in play else []
    return wrong


def options_of(role: Path) -> dict[str, dict[str, Any]]:
    """Return the options of all entry points of a role."""
    specs = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: one for spec in specs.values() for name, one in (spec.get("options") or {}).items()}


def defaults_of(role: Path) -> dict[str, Any]:
    """Return the defaults of a role."""
    path = role / "defaults" / "main.yml"
    return (load(path) or {}) if path.exists() else {}


def roles_without_their_parts(root: Path) -> list[str]:
    """Every role says what it takes and what it is; one that writes the configuration of a server explains it."""
    wrong = []
    for role in roles(root):
        wrong += [
            f"{role.name} has no {part}"
            for part in ("meta/argument_specs.yml", "meta/main.yml")
            if not (role / part).exists()
        ]
        if (role / "templates").exists() and not (role / "README.md").exists():
            wrong.append(f"{role.name} has templates and no README.md")
    return wrong


def specs_against_defaults(root: Path) -> list[str]:
    """Every default is an option, every option that may be left out has a default, and each default is what its option takes."""
    wrong = []
    for role in roles(root):
        options, defaults = options_of(role), defaults_of(role)
        public = {name for name in defaults if not name.startswith("__")}
        optional = {name for name, option in options.items() if not option.get("required")}
        wrong += [f"{role.name}: the default {name} is no option" for name in sorted(public - set(options))]
        wrong += [f"{role.name}: the option {name} has no default" for name in sorted(optional - set(defaults))]
        wrong += [
            f"{role.name}: {name} is required and has a default" for name in sorted(public & set(options) - optional)
        ]
        wrong += [
            f"{role.name}: the option {name} does not begin with the role's name"
            for name in options
            if not name.startswith(f"{role.name}_")
        ]
        for name in sorted(public & set(options)):
            if "{{" not in str(defaults[name]):
                result = ArgumentSpecValidator({name: options[name]}).validate({name: defaults[name]})
                wrong += [f"{role.name}: the default of {name}: {message}" for message in result.error_messages]
                wrong += _other_type(role.name, name, defaults[name], result.validated_parameters[name])
    return wrong


def _other_type(role: str, name: str, given: Any, validated: Any) -> list[str]:
    """A default that only becomes what its option says, as the text "5" for a number, is compared as what it is without the spec."""
    if isinstance(given, (int, float)) and isinstance(validated, (int, float)) and not isinstance(given, bool):
        return []
    if type(given) is type(validated):
        return []
    return [f"{role}: the default of {name} is a {type(given).__name__}, its option takes a {type(validated).__name__}"]


def action_groups(root: Path) -> list[str]:
    """The group release holds every module, the group fenced those that take a token, and each module documents its groups."""
    groups = load(root / "meta" / "runtime.yml")["action_groups"]
    sources = modules(root)
    fenced = {name for name, source in sources.items() if '"token": {' in source or "FENCE_OPTIONS" in source}
    wrong = [f"the group {name} is not documented" for name in set(groups) - {"release", "fenced"}]
    for name, expected in (("release", set(sources)), ("fenced", fenced)):
        wrong += [f"the group {name} does not hold {one}" for one in sorted(expected - set(groups[name]))]
        wrong += [f"the group {name} holds {one}" for one in sorted(set(groups[name]) - expected)]
    return wrong


def attributes(root: Path) -> list[str]:
    """Each module documents its attributes, and what it says of check mode is what its code says."""
    wrong = []
    for name, source in modules(root).items():
        (text,) = [_text(node) for node in ast.parse(source).body if _assigned(node) == "DOCUMENTATION"]
        documentation = yaml.safe_load(text)
        said = documentation.get("attributes") or {}
        wrong += [
            f"{name} does not document {one}"
            for one in ("check_mode", "diff_mode")
            if "support" not in said.get(one, {})
        ]
        if "baton.release.attributes" not in documentation.get("extends_documentation_fragment", []):
            wrong.append(f"{name} does not document its action group")
        supported = said.get("check_mode", {}).get("support") in {"full", "partial"}
        # A module that is all action plugin has no code of its own.
        checks = "supports_check_mode=True" in source or "check_mode: bool" in source
        if ("AnsibleModule(" in source or "PART = " in source) and supported != checks:
            wrong.append(f"{name} says {'' if supported else 'no '}check mode, and its code says the opposite")
    return wrong


def _assigned(node: ast.stmt) -> str:
    return node.targets[0].id if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) else ""


def _text(node: ast.stmt) -> str:
    assert isinstance(node, ast.Assign)
    return str(ast.literal_eval(node.value))


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """Yield name and content of every text of ours."""
    directories = [root / name for name in OURS]
    found = {path for directory in directories for pattern in TEXTS for path in directory.rglob(pattern)}
    found |= {path for pattern in TEXTS for path in root.glob(pattern)}
    for path in sorted(found):
        name = str(path.relative_to(root))
        if path.is_file() and not name.startswith("playbooks/collections/"):
            yield name, path.read_text()


def silenced_without_a_reason(root: Path) -> list[str]:
    """Whatever silences a linter says why, on its line."""
    wrong = []
    for name, text in texts(root):
        for number, line in enumerate(text.splitlines(), 1):
            for found in SILENCERS.finditer(line):
                reason = CODES.sub("", found["rest"], count=1)
                if len(re.findall("[a-z]", reason, re.IGNORECASE)) < FEWEST_LETTERS:
                    wrong.append(f"{name}:{number}: {line.strip()}")
    return wrong


def skipped_without_a_reason(root: Path) -> list[str]:
    """A test that is left out says why; so does a line of what sanity ignores, and what ansible-lint skips."""
    wrong = []
    for name, text in texts(root):
        if name.endswith(".py"):
            calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Call, ast.Attribute))]
            called = {id(call.func) for call in calls if isinstance(call, ast.Call)}
            for call in calls:
                if isinstance(call, ast.Attribute):
                    # A mark without arguments: @pytest.mark.skip
                    bare = call.attr in SKIPPERS and isinstance(call.value, ast.Attribute) and id(call) not in called
                    wrong += [f"{name}:{call.lineno}: a bare {call.attr}"] if bare else []
                elif _skipper(call) and not _reason(call):
                    wrong.append(f"{name}:{call.lineno}: {_skipper(call)} without a reason")
        elif Path(name).name.startswith("ignore-"):
            lines = enumerate(text.splitlines(), 1)
            wrong += [f"{name}:{number}: {line}" for number, line in lines if line and "# " not in line]
    lint = root / ".ansible-lint"
    listed = (load(lint) if lint.exists() else None) or {}
    return wrong + [f".ansible-lint: {key}" for key in ("skip_list", "warn_list") if listed.get(key)]


def _skipper(call: ast.Call) -> str:
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    of_pytest = owner is not None and ast.unparse(owner) in {"pytest", "pytest.mark"}
    return call.func.attr if of_pytest and isinstance(call.func, ast.Attribute) and call.func.attr in SKIPPERS else ""


def _reason(call: ast.Call) -> bool:
    given = [keyword.value for keyword in call.keywords if keyword.arg in {"reason", "msg"}]
    given += call.args[:1] if _skipper(call) == "skip" else []
    return any(not isinstance(one, ast.Constant) or len(str(one.value)) >= FEWEST_LETTERS for one in given)


def too_new_for_managed_hosts(root: Path) -> list[str]:
    """What runs on managed hosts is read by Python 3.9, and asks nothing of newer types when it is loaded."""
    wrong = []
    for path in (*sorted(root.glob("plugins/modules/*.py")), *sorted(root.glob("plugins/module_utils/*.py"))):
        name, text = str(path.relative_to(root)), path.read_text()
        try:
            tree = ast.parse(text, feature_version=(3, 9))
        except SyntaxError as error:
            wrong.append(f"{name}:{error.lineno}: {error.msg}")
            continue
        imported = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
        wrong += (
            [] if "__future__" in imported else [f"{name}: types are evaluated (no from __future__ import annotations)"]
        )
    return wrong


def plugins_without_a_header(root: Path) -> list[str]:
    """Every plugin names its owner and its license in its first lines."""
    found = []
    for path in sorted(root.glob("plugins/**/*.py")):
        lines = [line for line in path.read_text().splitlines()[:4] if not line.startswith(("#!", "# -*-"))]
        if tuple(lines[:2]) != HEADER:
            found.append(f"{path.relative_to(root)}: no header")
    return found


def imports_that_point_up(root: Path) -> list[str]:
    """Utilities import utilities, modules too; an action also its module and what actions share; nobody imports a test."""
    wrong = []
    for path in sorted(root.glob("plugins/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                below = BELOW.get(path.parent.name, BELOW[""])
                inside = name.startswith(OWN) and not name.removeprefix(OWN).startswith(below)
                # Ansible's own code for controllers is not there on a managed host.
                remote = path.parent.name in {"modules", "module_utils"}
                controller = remote and name.split(".")[0] == "ansible" and not name.startswith("ansible.module_utils")
                if inside or controller or name.split(".")[0] in {"tests", "examples"}:
                    wrong.append(f"{path.relative_to(root)} imports {name}")
    return wrong


RULES: tuple[Rule, ...] = (
    remote_delegates,
    run_once_with_a_condition,
    rescues_that_others_leave,
    plays_with_serial,
    ignored_errors,
    handlers,
    short_names,
    roles_without_their_parts,
    specs_against_defaults,
    action_groups,
    attributes,
    silenced_without_a_reason,
    skipped_without_a_reason,
    too_new_for_managed_hosts,
    plugins_without_a_header,
    imports_that_point_up,
)
