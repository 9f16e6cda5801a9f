# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What Liquibase says of a changelog when it is given a file of changesets that ran in place of a database, to which it would write."""

from __future__ import annotations

import contextlib
import csv
import os
import posixpath
import re
import shutil
import tempfile
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.files import read_text
from ansible_collections.baton.release.plugins.module_utils.migration_project import JAVA_READ_TIMEOUT

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_project import Project
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended

__all__ = ["IRREVERSIBLE", "Changeset", "Reader", "named", "parse_listed", "parse_undone"]

_COLUMNS = (
    "ID", "AUTHOR", "FILENAME", "DATEEXECUTED", "ORDEREXECUTED", "EXECTYPE", "MD5SUM",
    "DESCRIPTION", "COMMENTS", "TAG", "LIQUIBASE", "CONTEXTS", "LABELS", "DEPLOYMENT_ID",
)  # fmt: skip # a list of words
_LISTED = re.compile(r" {5}(\S.*::.*::.*)")
_UNDOING = "-- Rolling Back ChangeSet: "
IRREVERSIBLE = re.compile(r"Rollback(Impossible|Failed)Exception")
"""What Liquibase prints when it has no way to undo a changeset."""
_ALL = 1_000_000
# Java compiles as little as it can: to read a changelog takes a second less then.
_QUICK = "-XX:TieredStopAtLevel=1"


class Changeset(typing.NamedTuple):
    """A changeset of the tree, or one that ran; ``checksum`` is empty where there is none."""

    path: str
    author: str
    id: str
    checksum: str
    description: str = ""
    comments: str = ""

    @property
    def name(self) -> str:
        """What Liquibase calls it where it lists several."""
        return f"{named(self.path)}::{self.id}::{self.author}"


def named(path: str) -> str:
    """Return a path of a changelog without what says only where it was found, as Liquibase compares them."""
    plain = re.sub(r"^classpath\*?:", "", path.replace("\\", "/")).lstrip("/")
    return posixpath.normpath(plain) if plain else plain


class Reader:
    """Asks Liquibase, each time with a Java of its own."""

    def __init__(self, project: Project, program: str, more: typing.Mapping[str, str]) -> None:
        """Remember how to ask: ``more`` are variables on top of the environment of ``project``."""
        self._project, self._program, self._more = project, program, more

    def tree(self) -> list[Changeset]:
        """Return the changesets of the tree in their order.

        Raises:
            BatonError: the changelog cannot be read.
        """
        with self._file([]) as path:
            self._must(self._ask(path, "changelog-sync-sql"))
            with path.open(encoding="utf-8", newline="") as source:
                rows = list(csv.DictReader(source))
        return [
            Changeset(
                one["FILENAME"], one["AUTHOR"], one["ID"], one["MD5SUM"] or "", one["DESCRIPTION"], one["COMMENTS"]
            )
            for one in rows
        ]

    def next_update(self, ran: typing.Sequence[Changeset]) -> list[str]:
        """Return the names of all changesets that an update would run, in order, also of those that run each time or were changed.

        Raises:
            BatonError: the changelog does not fit what ``ran``.
        """
        with self._file(ran) as path:
            self._must(self._ask(path, "status", "--verbose"))
            return parse_listed(_said(path))

    def undone(self, ran: typing.Sequence[Changeset]) -> dict[str, str]:
        """Return for each changeset that can be undone, from the last one that ``ran`` on, its ``down`` as a revision has it.

        The first one that cannot is the last one: no way leads past it.
        """
        with self._file(ran) as path:
            ended = self._ask(path, "rollback-count-sql", f"--count={_ALL}")
            found = parse_undone(_said(path))
            if ended.returncode != 0:
                if not found or not IRREVERSIBLE.search(ended.output):
                    raise self._project.unreadable(ended)
                found[next(reversed(found))] = "refuses"
            return found

    def _must(self, ended: Ended) -> None:
        if ended.returncode != 0:
            raise self._project.unreadable(ended)

    def _ask(self, path: Path, *words: str) -> Ended:
        around = self._project.surroundings
        more = {
            **self._more,
            "LIQUIBASE_COMMAND_URL": f"offline:postgresql?changeLogFile={path}&outputLiquibaseSql=none",
            "LIQUIBASE_OUTPUT_FILE": str(path.with_name("said")),
            "JAVA_OPTS": f"{_QUICK} {around.variables.get('JAVA_OPTS', '')}".strip(),
        }
        return self._project.read([self._program, *words], more=more, timeout=JAVA_READ_TIMEOUT)

    @contextlib.contextmanager
    def _file(self, ran: typing.Sequence[Changeset]) -> typing.Iterator[Path]:
        directory = Path(tempfile.mkdtemp(prefix="baton-liquibase-"))
        try:
            path = directory / "ran.csv"
            with path.open("w", encoding="utf-8", newline="") as target:
                writer = csv.writer(target, quoting=csv.QUOTE_ALL, lineterminator="\n")
                writer.writerow(_COLUMNS)
                for number, one in enumerate(ran, start=1):
                    # Only their order counts, not when it was.
                    when = f"2000-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}"
                    row = (one.id, one.author, one.path, when, number, "EXECUTED", one.checksum)
                    writer.writerow([*row, one.description, "", "", "", "()", "", ""])
            account = self._project.surroundings.account
            if account is not None:
                for owned in (directory, path):
                    os.chown(owned, account.uid, account.gid)
            yield path
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _said(path: Path) -> str:
    return read_text(path.with_name("said")) or ""


def parse_listed(text: str) -> list[str]:
    """Return the names in what Liquibase lists."""
    return [_plain(found[1]) for line in text.splitlines() if (found := _LISTED.fullmatch(line))]


def parse_undone(text: str) -> dict[str, str]:
    """Return for each changeset in a script that undoes them whether that does something (``yes``) or not (``empty``)."""
    found: dict[str, str] = {}
    name = None
    for line in text.splitlines():
        if line.startswith(_UNDOING):
            name = _plain(line[len(_UNDOING) :].strip())
            found[name] = "empty"
        elif name and line.strip() and not line.startswith("--"):
            found[name] = "yes"
    return found


def _plain(name: str) -> str:
    path, separator, rest = name.partition("::")
    return f"{named(path)}{separator}{rest}"
