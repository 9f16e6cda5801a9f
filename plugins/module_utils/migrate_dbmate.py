# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The migrations of dbmate: SQL files in the app's release tree, each with its way up and down.

A revision is the number that the name of a file begins with, which is all that dbmate keeps. Its status says nothing of what a newer
tree applied, so the table is read here. dbmate knows no way up to a revision: it is shown a directory with only the files until there.
(dbmate 2)
"""

from __future__ import annotations

import re
import tempfile
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils._dbmate_table import applied
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import POSTGRESQL, SQLITE
from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision, Schema, in_line
from ansible_collections.baton.release.plugins.module_utils.migration_project import (
    Project,
    require_program,
    require_tree,
)
from ansible_collections.baton.release.plugins.module_utils.migration_session import GO

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Way
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, ToolSettings

__all__ = ["Dbmate", "described"]

_FILE = re.compile(r"(?P<version>\d+)(?P<words>.*)\.sql")
_SECTION = re.compile(r"^--[ \t]*migrate:(up|down)\b", re.MULTILINE)
_PHASE = re.compile(r"^--[ \t]*phase:[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)
_LONE_COMMENT = re.compile(r"^[ \t]*--[ \t][^\n'\"`]*$", re.MULTILINE)
_LINE_COMMENT = re.compile(r"--[^\n]*")
_CALLED = re.compile(r"\s*((/\*.*?\*/|(--|#)[^\n]*\n)\s*)*(CALL|EXECUTE|BEGIN)\b", re.IGNORECASE | re.DOTALL)
"""One statement that stands for any number of them."""


class Dbmate:
    """The app's dbmate: where its files and the database are, and the way up and down."""

    remembers = False

    def __init__(self, settings: ToolSettings, *, program: str, directory: str) -> None:
        """Find what the app brought.

        Args:
            settings: how the tool is run.
            program: dbmate itself, or its name on PATH.
            directory: where the migrations are, inside of the tree.

        Raises:
            NotThereYet: the tree, its migrations, dbmate or the database URL is not there.
            BatonError: an env file cannot be read.
        """
        require_tree(settings, directory)
        require_program(settings, program, option="dbmate_program", what="program")
        self._program, self._directory = program, settings.project_dir / directory
        self._url_variable = settings.database_url_variable
        self._project = Project(settings, configuration="the app's dbmate", tool="dbmate", url_for=GO)
        self.surroundings = self._project.surroundings

    def schema(self) -> Schema:
        """Read the files and the table of dbmate; writes nothing.

        Raises:
            BatonError: a file or the database cannot be read.
        """
        kind = self._project.kind
        revisions = in_line(described(path.name, read_text(path) or "", kind) for path in self._files().values())
        done = tuple(applied(self.surroundings))
        return Schema(done[-1:], tuple(one.revision for one in revisions[-1:]), revisions, done)

    def up(self, way: Way, session: LockSession) -> Ended:
        """Run ``dbmate migrate`` while ``session`` holds the lock, with the files up to the target only."""
        files = self._files()
        with tempfile.TemporaryDirectory(prefix="baton-dbmate-") as part:
            directory = Path(part)
            directory.chmod(0o755)  # the tool may run as another user
            for one in (*way.before.applied(), *way.steps):
                path = files[one.revision]
                (directory / path.name).symlink_to(path)
            return self._project.change([self._dbmate(directory, "migrate")], session)

    def down(self, way: Way, session: LockSession) -> Ended:
        """Run ``dbmate rollback`` for each step while ``session`` holds the lock: it undoes the last one that it knows."""
        return self._project.change([self._dbmate(self._directory, "rollback") for _step in way.steps], session)

    def advice(self, ended: Ended) -> str | None:
        """Return what to do when dbmate was not told how to speak to the server."""
        if "SSL is not enabled on the server" in ended.output:
            return "add ?sslmode=disable to the database URL, or PGSSLMODE to the environment"
        return None

    def _dbmate(self, directory: Path, verb: str) -> list[str]:
        # Without the first one dbmate would write what it finds with pg_dump into the release tree.
        options = ["--no-dump-schema", f"--env={self._url_variable}", f"--migrations-dir={directory}"]
        return [self._program, *options, verb]

    def _files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in sorted(self._directory.iterdir()):
            match = _FILE.fullmatch(path.name)
            if match and found.setdefault(match["version"], path) != path:
                raise BatonError(
                    found=f"{found[match['version']].name} and {path.name}, two migrations with one number",
                    expected="a number of its own for each migration",
                    fix="rename one of the files",
                )
        return dict(sorted(found.items()))


def described(name: str, text: str, kind: str = POSTGRESQL) -> Revision:
    """Return the migration in the file ``name`` with this ``text``; a line ``-- phase: contract`` gives its phase."""
    match = _FILE.fullmatch(name)
    if match is None:
        raise AssertionError("only files with a number are read")
    phase = _PHASE.search(text)
    down, whole = "", False
    sections = list(_SECTION.finditer(text))
    for section, after in zip(sections, [*sections[1:], None]):
        options, _newline, body = text[section.end() : after.start() if after else len(text)].partition("\n")
        if section[1] == "down":
            down = body
        elif kind == SQLITE:
            whole = "transaction:false" not in options
        else:
            whole = kind == POSTGRESQL or (_statements(body) == 1 and not _CALLED.match(body))
    return Revision(
        match["version"],
        description=match["words"].strip("_-").replace("_", " "),
        phase=phase[1] if phase else "unmarked",
        down="yes" if re.sub(r"\s", "", _LINE_COMMENT.sub("", down)).strip(";") else "empty",
        whole=whole,
    )


def _statements(text: str) -> int:
    """Return how many statements there are at most: a semicolon in a comment counts too, where the comment may be quoted text."""
    return sum(1 for one in _LONE_COMMENT.sub("", text).split(";") if one.strip())
