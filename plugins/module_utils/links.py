# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Links and directories that another process follows while we change them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["link_text", "make_directory", "replace_link", "sync_directory"]


def make_directory(path: Path) -> None:
    """Make a directory that other users may enter, whatever the umask is."""
    with contextlib.suppress(FileExistsError):
        path.mkdir()
        path.chmod(0o755)


def link_text(link: Path) -> str:
    """Return what a link holds, nothing where there is none."""
    try:
        return str(link.readlink())
    except OSError:
        return ""


def replace_link(link: Path, text: str) -> None:
    """Have a link hold ``text``, and at no instant be missing."""
    if link_text(link) != text:
        temporary = link.with_name(f".{link.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(text)
        temporary.replace(link)


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
