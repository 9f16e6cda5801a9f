# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The driver for an app's own commands: what they are given, what is believed of what they say, and as whom they run."""

from __future__ import annotations

import json
import os
import pwd
import tempfile
import typing
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migrate_command import parse_status
from ansible_collections.baton.release.plugins.modules import db_migrate

from tests.unit.plugins.modules.db_migrate_called import Result
from tests.unit.plugins.modules.migration_trees import CommandTree, names

if typing.TYPE_CHECKING:
    from tests.postgres import PostgresServer

# Stands for an app's own tool, whose state is a file beside it.
TOOL = r"""#!/bin/sh
set -eu
printf '%s|' "$(id -un)" "$HOME" "${USER-}" "$BATON_ACTION" "${BATON_REVISION-}" "${BATON_STEPS-}" "$PGOPTIONS" "$*" >> state/log
echo >> state/log
case $BATON_ACTION in
    status) cat state/status ;;
    up) printf '[X] 1\n[X] 2\n' > state/status ;;
    up_to) printf '[X] 1\n[ ] 2\n' > state/status ;;
    down) cat state/after ;;
    version) cat state/version ;;
esac
"""
NOBODY = "nobody"


@pytest.fixture
def tree(postgres: PostgresServer, database: str) -> typing.Iterator[Path]:
    """Return a tree that every user can read, and whose state every user can write."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        root.chmod(0o755)
        (root / "state").mkdir()
        (root / "state").chmod(0o777)
        (root / "tool").write_text(TOOL, encoding="utf-8")
        (root / "tool").chmod(0o755)
        (root / "env").write_text(f'DATABASE_URL="{postgres.url(database)}"\n', encoding="utf-8")
        (root / "env").chmod(0o600)
        said(root, "[ ] 1\n[ ] 2 expand\n")
        yield root


def said(root: Path, status: str, version: str = "") -> None:
    """Have the tool say this from now on."""
    for name, text in (("status", status), ("version", version)):
        (root / "state" / name).write_text(text, encoding="utf-8")
        (root / "state" / name).chmod(0o666)


def log(root: Path) -> list[list[str]]:
    """Return how the tool was called: user, HOME, USER, action, revision, steps, PGOPTIONS, words."""
    lines = (root / "state" / "log").read_text(encoding="utf-8").splitlines()
    return [line.split("|")[:-1] for line in lines]


class Run(typing.Protocol):
    """How the tests call the module."""

    def __call__(self, *, fails: bool = False, **options: typing.Any) -> Result: ...


@pytest.fixture
def run(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the module with commands of the tree's tool, and insists on how it ends."""
    given = {
        "driver": "command",
        "project_dir": str(tree),
        "state_dir": str(tmp_path / "state"),
        "env_files": [str(tree / "env")],
        "commands": {"status": ["./tool"], "up": ["./tool", "all of it; $(id)"]},
    }

    def call(*, fails: bool = False, **options: typing.Any) -> Result:
        with patch_module_args({**given, **options}), pytest.raises(SystemExit):
            db_migrate.main()
        result: Result = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == fails, result
        return result

    return call


def test_commands_get_their_words_as_they_are_and_what_is_meant_in_the_environment(tree: Path, run: Run) -> None:
    assert names(run()["applied"]) == ["1", "2"]
    read, change, again = log(tree)
    assert read[3:6] == again[3:6] == ["status", "", ""]
    assert change[3:6] == ["up", "2", "1 2"]
    assert change[7] == "all of it; $(id)"
    assert read[6].endswith("default_transaction_read_only=on")
    assert "read_only" not in change[6]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a tool as another user")
def test_the_tool_runs_as_the_user_of_the_app_and_not_as_root(tree: Path, run: Run) -> None:
    assert run(user=NOBODY)["changed"]
    home = pwd.getpwnam(NOBODY).pw_dir
    assert {tuple(line[:3]) for line in log(tree)} == {(NOBODY, home, NOBODY)}
    assert (tree / "state" / "log").stat().st_uid == pwd.getpwnam(NOBODY).pw_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a tool as another user")
def test_a_tool_that_the_user_may_not_run_says_so(tree: Path, run: Run) -> None:
    (tree / "tool").chmod(0o700)
    assert f"./tool cannot be run as {NOBODY}: Permission denied" in run(user=NOBODY, fails=True)["msg"]


def test_a_user_who_is_not_there_is_named(run: Run) -> None:
    assert "no user nosuch on this host" in run(user="nosuch", fails=True)["msg"]
    assert run(user=pwd.getpwuid(os.geteuid()).pw_name)["changed"]


def test_what_no_command_can_do_is_refused_before_anything_is_done(tree: Path, run: Run) -> None:
    assert "no command up_to, which it takes to apply 1" in run(revision="1", fails=True)["msg"]
    said(tree, "[X] 1\n[X] 2\n")
    assert "no command down, which it takes to undo 2" in run(state="downgraded", revision="1", fails=True)["msg"]
    assert [line[3] for line in log(tree)] == ["status", "status"]
    for commands in ({"status": ["./tool"]}, {"up": ["./tool"]}, {"status": [], "up": ["./tool"]}):
        assert "at least status and up" in run(commands=commands, fails=True)["msg"]


def test_a_command_that_does_too_little_or_too_much_is_not_believed(run: Run) -> None:
    commands = {"status": ["./tool"], "up": ["true"], "up_to": ["env", "BATON_ACTION=up", "./tool"], "down": ["true"]}
    assert "reported success, but the schema is at base" in run(commands=commands, fails=True)["msg"]
    assert "it changed 2 as well" in run(commands=commands, revision="1", fails=True)["msg"]
    assert (
        "reported success, but the schema is at 2"
        in run(commands=commands, state="downgraded", revision="base", fails=True)["msg"]
    )


@pytest.mark.parametrize(("version", "sound"), [("Current Version: 1", True), ("1 (dirty)", False), ("none", False)])
def test_a_version_that_contradicts_the_status_stops_everything(
    tree: Path, run: Run, version: str, sound: bool
) -> None:
    said(tree, "[X] 1\n[ ] 2\n", f"some tool\n{version}\n")
    commands = {"status": ["./tool"], "up": ["./tool"], "version": ["./tool"]}
    result = run(commands=commands, state="gathered", fails=not sound)
    assert sound or "the command version says" in result["msg"]


def test_a_status_that_fails_is_told_without_secrets(run: Run, postgres: PostgresServer) -> None:
    failed = run(commands={"status": ["sh", "-c", "env; echo wrong; exit 3"], "up": ["true"]}, fails=True)
    assert "(the command status)" in failed["msg"]
    assert postgres.password not in json.dumps(failed)
    assert (
        "/nosuch. Expected: the app's own tool"
        in run(commands={"status": ["./nosuch"], "up": ["true"]}, fails=True)["msg"]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no line about a migration"),
        ("everything is fine", "no line about a migration"),
        ("[X] 1\n[ ] 1", "1 more than once"),
        ("[X] --all", "the revision '--all'"),
        ("[X] 1 contarct", "the phase as one of"),
        ('{"revision": "1"}', "applied and known"),
        ('{"revision": "1", "applied": "yes"}', "applied and known"),
        ('{"revision": "1", "applied": false, "known": false}', "not both of them false"),
        ('{"revision": 1, "applied": true}', "the revision '1'"),
        ('{"revision": "1", "applied": true, "down": "maybe"}', "down as one of"),
    ],
)
def test_a_status_that_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(BatonError, match=said):
        parse_status(text)


def test_a_status_may_be_plain_or_json_between_whatever_else_is_printed() -> None:
    text = '> shop@1.0.0 status\n[X] 1_a.js\n{"level": "info"}\n{"revision": "2_b", "applied": false, "phase": "contract"}\n[?] 3\n{oh'
    found = [(one.revision.revision, one.revision.phase, one.applied, one.known) for one in parse_status(text)]
    assert found == [
        ("1_a.js", "unmarked", True, True),
        ("2_b", "contract", False, True),
        ("3", "unmarked", True, False),
    ]
    assert parse_status("no migrations\n") == []


def test_scripts_of_npm(tmp_path: Path, postgres: PostgresServer, database: str, run: Run) -> None:
    app = CommandTree(tmp_path / "app", postgres, database)
    scripts = {
        "migrate:status": "node status.js",
        "migrate:up": "knex migrate:latest",
        "migrate:down": "knex migrate:down",
    }
    (app.tree / "package.json").write_text(json.dumps({"name": "shop", "scripts": scripts}), encoding="utf-8")
    npm = {action: ["npm", "run", f"migrate:{action}"] for action in ("status", "up")}
    commands = {**npm, "down": ["npm", "run", "migrate:down", "--", "{revision}"]}
    options: Result = {"project_dir": str(app.tree), "env_files": [str(app.env_file)], "commands": commands}
    assert names(run(**options)["applied"]) == app.revisions(1, 2, 3)
    assert names(run(**options, state="downgraded", revision="-1")["undone"]) == app.revisions(3)
