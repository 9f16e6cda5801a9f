# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What earlier rehearsals have found, here or elsewhere: it counts where all that it depends on is the same, which a digest tells."""

from __future__ import annotations

import hashlib
import platform
import time
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.files import read_json, write_json
from ansible_collections.baton.release.plugins.module_utils.releases import MARK

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_how import Rehearsal

__all__ = ["FILE", "keep", "kept", "likely_new", "tree_digest"]

Found = typing.Dict[str, typing.Any]  # noqa: UP006 - Python 3.9 evaluates it
FILE = "rehearsal.json"
_LEFT_OUT = frozenset({".git", "__pycache__", MARK})
"""What differs from host to host, and decides nothing."""


def kept(how: Rehearsal, digest: str, asked: typing.Collection[str] | None) -> Found | None:
    """Return what was kept of a rehearsal with this digest: ``found``, and of where and when it was made ``host`` and ``at``.

    Args:
        how: where it may be kept.
        digest: of all that it depends on.
        asked: what the app asks of the target, all of which it has to know; None for one that knows less, too.

    Raises:
        BatonError: a file is there that holds something else.
    """
    for path in _places(how):
        one = read_json(path) or {}
        fits = isinstance(one.get("found"), dict) and one.get("digest") == digest
        if fits and (asked is None or set(asked) <= set(one.get("asked", ()))):
            # What was found elsewhere is what others are to have from here, too.
            if how.keep and path == how.known:
                write_json(how.state_dir / FILE, one)
            return one
    return None


def keep(how: Rehearsal, digest: str, found: Found, asked: typing.Sequence[str]) -> None:
    """Keep what was found."""
    document = {
        "digest": digest,
        "found": found,
        "asked": list(asked),
        "tree": tree_digest(how.project_dir),
        "host": platform.node(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_json(how.state_dir / FILE, document)


def likely_new(how: Rehearsal) -> bool:
    """Return whether a rehearsal would be made, as far as that can be told without the database."""
    tree = tree_digest(how.project_dir)
    return all((read_json(path) or {}).get("tree") != tree for path in _places(how))


def tree_digest(directory: Path) -> str:
    """Return a digest of the files of a tree, with their names."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not _LEFT_OUT.intersection(path.parts):
            digest.update(f"\0{path.relative_to(directory)}\0".encode())
            digest.update(_content(path))
    return digest.hexdigest()


def _places(how: Rehearsal) -> list[Path]:
    return [how.state_dir / FILE, *([how.known] if how.known else [])]


def _content(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:  # what this user cannot read is told by its size and time
        state = path.stat()
        return f"{state.st_size} {state.st_mtime_ns}".encode()
