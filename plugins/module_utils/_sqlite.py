# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A database of SQLite: the file that a URL leads to, and reading it without ever making it."""

from __future__ import annotations

import contextlib
import re
import tempfile
import typing
from pathlib import Path
from urllib.parse import quote, unquote

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

try:
    import sqlite3
except ImportError as import_error:  # a Python that was built without it
    _MISSING = str(import_error)
else:
    _MISSING = ""

__all__ = ["database_refusal", "path_of", "read", "stand_in"]

_SECONDS = 10.0
_REFUSALS: tuple[tuple[str, str, str], ...] = (
    (
        r"unable to open database file|SQLITE_CANTOPEN",
        "the file of the database cannot be opened",
        "make its directory, and let the user that migrates read and write it",
    ),
    (
        r"database is locked|SQLITE_BUSY",
        "the database is in use by somebody else, who writes to it",
        "run again when that has ended",
    ),
    (r"file is not a database|SQLITE_NOTADB", "a file that is no database of SQLite", "correct the URL"),
    (r"readonly database", "the file of the database cannot be written", "let the user that migrates write it"),
)


def database_refusal(text: str) -> tuple[str, str] | None:
    """Return what the error ``text`` says in words and what to do about it, or None when it is about something else."""
    for pattern, found, fix in _REFUSALS:
        if re.search(pattern, text, re.IGNORECASE):
            return found, fix
    return None


def path_of(url: str) -> Path:
    """Return the file that a URL leads to.

    Raises:
        BatonError: it is no absolute path, which alone means the same to every tool, and outlives a release.
    """
    path = unquote(url.partition("://")[2].partition("?")[0])
    if not path.startswith("//") or path.endswith("/") or "\0" in path or ".." in path.split("/"):
        raise BatonError(
            found="a URL of SQLite without an absolute path",
            expected="sqlite:////srv/shop/shared/shop.db with four slashes, a file outside of the release tree:"
            " what is in it goes with the release",
            fix="correct the URL where it is kept; nothing was changed",
        )
    return Path("/" + path.lstrip("/"))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False


def read(path: Path, statement: str, *values: object) -> list[tuple[typing.Any, ...]]:
    """Return what a statement selects; nothing when there is no file, which is not made.

    Raises:
        BatonError: the file cannot be read, or this Python has no SQLite.
    """
    if _MISSING:
        raise BatonError(
            found=f"a Python without SQLite ({_MISSING})",
            expected="the module sqlite3, which is a part of Python",
            fix="let this task run with the Python of the system (ansible_python_interpreter); nothing was changed",
        )
    try:
        if not _exists(path):
            return []
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(str(path))}?mode=ro", timeout=_SECONDS, uri=True)
        ) as session:
            return session.execute(statement, values).fetchall()
    except (sqlite3.Error, OSError) as error:
        found, fix = database_refusal(str(error)) or (
            f"the database refuses: {error}",
            "look at the file, or correct the URL",
        )
        raise BatonError(
            found=found,
            expected="to read the schema's revision from the database; nothing was changed",
            fix=fix,
            details=str(error),
        ) from error


@contextlib.contextmanager
def stand_in(url: str) -> typing.Iterator[str | None]:
    """Give the URL of an empty file that only this reading knows, when there is no database yet: a tool would make it.

    Raises:
        BatonError: the URL cannot be read.
    """
    if _exists(path_of(url)):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="baton-sqlite-") as directory:
        Path(directory).chmod(0o755)  # the tool may run as another user
        empty = Path(directory) / "empty.db"
        empty.touch(0o644)
        scheme, query = url.partition("://")[0], url.partition("?")[2]
        yield f"{scheme}:///{quote(str(empty))}{'?' + query if query else ''}"
