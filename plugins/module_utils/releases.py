# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The releases installed on one host: one directory a version, with a mark of what it is and whether it was ever proven."""

from __future__ import annotations

import shutil
import time
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.artifacts import fetch_and_unpack
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_json, write_json

__all__ = ["Releases"]

MARK = ".baton-release.json"


class Releases:
    """The directory ``<app_root>/releases``."""

    def __init__(self, app_root: Path) -> None:
        """Look at ``app_root``; it need not exist."""
        self.directory = app_root / "releases"

    def path(self, version: str) -> Path:
        """Return where ``version`` is, or would be, installed."""
        return self.directory / version

    def mark(self, version: str) -> dict[str, typing.Any] | None:
        """Return what is known of ``version`` ({version, sha256, installed_at, verified_at}), or None when it is not installed."""
        return read_json(self.path(version) / MARK) if self.path(version).is_dir() else None

    def installed(self) -> list[dict[str, typing.Any]]:
        """Return the marks of all installed releases, the latest installed first."""
        if not self.directory.is_dir():
            return []
        # A directory without a mark is the rest of an installation that was cut off; it does not count as installed.
        names = [path.name for path in self.directory.iterdir() if not path.name.startswith(".")]
        marks = [mark for name in names if (mark := self.mark(name))]
        return sorted(marks, key=lambda mark: mark.get("installed_at", 0), reverse=True)

    def install(self, version: str, *, source: str, sha256: str, timeout: float, check_mode: bool) -> bool:
        """Have ``version`` installed from the artifact with this SHA-256; say whether that changed anything.

        Raises:
            BatonError: another artifact of the same version is installed, or this one cannot be.
        """
        mark = self.mark(version)
        if mark and mark.get("sha256") == sha256.lower():
            return False
        if mark:
            raise BatonError(
                found=f"{version} is installed in {self.path(version)} from an artifact with the SHA-256 {mark.get('sha256')}",
                expected=f"the SHA-256 {sha256}: one version is one artifact, for ever",
                fix="release the new build under a new tag",
            )
        if not check_mode:
            path = self.path(version)
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                raise BatonError(
                    found=f"{path} is a file",
                    expected="nothing there, or the directory of a release",
                    fix="move it away, and run again; nothing was unpacked",
                )
            fetch_and_unpack(source, sha256=sha256, into=path, timeout=timeout)
            write_json(path / MARK, {"version": version, "sha256": sha256.lower(), "installed_at": time.time()})
        return True

    def verify(self, version: str, *, check_mode: bool) -> bool:
        """Mark ``version`` as proven under traffic; say whether that is new."""
        mark = self.mark(version)
        if mark is None:
            raise BatonError(
                found=f"{version} is not installed in {self.directory}",
                expected="the release that is to be marked as verified",
                fix="run the release again",
            )
        if mark.get("verified_at"):
            return False
        if not check_mode:
            write_json(self.path(version) / MARK, {**mark, "verified_at": time.time()})
        return True

    def prune(self, *, keep: int, needed: typing.Collection[str], check_mode: bool) -> list[str]:
        """Remove all but ``keep`` releases, never one of ``needed``; return the versions removed.

        The proven ones are the ways back: a series of releases that failed pushes none of them out, and at least two stay whatever
        ``keep`` says. Among equals the latest stay.
        """
        installed = self.installed()
        proven = [mark["version"] for mark in installed if mark.get("verified_at")]
        unproven = [mark["version"] for mark in installed if not mark.get("verified_at")]
        kept = {*(proven + unproven)[:keep], *proven[:2], *needed}
        removed = [mark["version"] for mark in installed if mark["version"] not in kept]
        if not check_mode:
            for version in removed:
                doomed = self.path(version).rename(self.directory / f".{version}.removed")
                shutil.rmtree(doomed)
        return removed
