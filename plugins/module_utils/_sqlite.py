# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A database of SQLite: the file that a URL leads to, and reading it without ever making it."""

from __future__ import annotations

import contextlib
import stat
import tempfile
import typing
from pathlib import Path
from urllib.parse import quote

from ansible_collections.baton.release.plugins.module_utils.database_refusals import database_refusal
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import SQLITE

try:
    import sqlite3
except ImportError as import_error:  # a Python that was built without it
    _MISSING = str(import_error)
else:
    _MISSING = ""

__all__ = ["is_there", "path_of", "read", "stand_in"]

_SECONDS = 10.0


def path_of(url: str) -> Path:
    """Return the file that a URL leads to.

    Raises:
        BatonError: it is no absolute path, which alone means the same to every tool, and outlives a release, or tools read it differently.
    """
    path = url.partition("://")[2].partition("?")[0]
    if not path.startswith("//") or path.endswith("/") or "\0" in path or ".." in path.split("/"):
        raise BatonError(
            found="a URL of SQLite without an absolute path",
            expected="sqlite:////srv/shop/shared/shop.db with four slashes, a file outside of the release tree:"
            " what is in it goes with the release",
            fix="correct the URL where it is kept; nothing was changed",
        )
    if "%" in path or "#" in path:
        raise BatonError(
            found="a URL of SQLite with % or # in its path",
            expected="a path that every tool reads in the same way: some decode %20 and others do not, and some end it at #",
            fix="call the file otherwise, and write other characters, such as blanks, as they are; nothing was changed",
        )
    return Path("/" + path.lstrip("/"))


def is_there(path: Path) -> bool:
    """Say whether there is a database yet.

    Raises:
        BatonError: there is something else, or nobody can tell, as in a directory that this user may not enter.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise _unusable(path, getattr(error, "strerror", None) or str(error)) from error
    if not stat.S_ISREG(mode):
        raise _unusable(path, "it is no file")
    return True


def _unusable(path: Path, why: str) -> BatonError:
    return BatonError(
        found=f"{path}, which cannot be the database: {why}",
        expected="the file of the database, or nothing where it is to be made",
        fix="correct the URL, or the rights; nothing was changed",
    )


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
    if not is_there(path):
        return []
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(str(path))}?mode=ro", timeout=_SECONDS, uri=True)
        ) as session:
            return session.execute(statement, values).fetchall()
    except (sqlite3.Error, OSError) as error:
        found, fix = database_refusal(SQLITE, str(error)) or (
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
        BatonError: the URL cannot be read, or leads to what is no file.
    """
    if is_there(path_of(url)):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="baton-sqlite-") as directory:
        Path(directory).chmod(0o755)  # the tool may run as another user
        empty = Path(directory) / "empty.db"
        empty.touch(0o644)
        scheme, query = url.partition("://")[0], url.partition("?")[2]
        yield f"{scheme}:///{empty}{'?' + query if query else ''}"
