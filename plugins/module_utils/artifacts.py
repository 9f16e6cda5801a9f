# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Getting an artifact onto a host: fetched, checked against its SHA-256 before anything of it is used, and unpacked safely."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import typing
import urllib.error
import urllib.parse
import zlib
from pathlib import Path, PurePosixPath

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["fetch_and_unpack"]

MAX_UNPACKED_BYTES = 4 << 30
MAX_MEMBERS = 200_000
CHUNK = 1 << 20


def fetch_and_unpack(source: str, *, sha256: str, into: Path, timeout: float) -> None:
    """Unpack the tar.gz at ``source`` into ``into``, which appears whole or not at all.

    Args:
        source: a path on this host, or a file, http or https URL.
        sha256: what the artifact must hash to, in hexadecimal.
        into: the directory to make; its parent must be on a file system with room for the artifact twice.
        timeout: seconds a server may be silent.

    Raises:
        BatonError: the artifact cannot be had, is another one, or is not safe to unpack.
    """
    into.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{into.name}.", dir=into.parent))
    try:
        archive = work / "artifact.tar.gz"
        _fetch(source, archive, sha256=sha256, timeout=timeout)
        _unpack(archive, work / "tree", source=source)
        (work / "tree").rename(into)
    except OSError as error:
        raise BatonError(
            found=f"{error.strerror or error} while unpacking {source} into {into}",
            expected="room and permission for the unpacked release",
            fix="nothing of it was kept; make room or correct the permissions on this host, and run again",
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fetch(source: str, archive: Path, *, sha256: str, timeout: float) -> None:
    digest = hashlib.sha256()
    with _open(source, timeout) as stream, archive.open("wb") as copy:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            digest.update(chunk)
            copy.write(chunk)
    if digest.hexdigest() != sha256.lower():
        raise BatonError(
            found=f"{source} has the SHA-256 {digest.hexdigest()} ({archive.stat().st_size} bytes)",
            expected=f"{sha256}, as the build's manifest or release_sha256 says",
            fix="nothing of it was unpacked; fetch or build the artifact again, or correct the checksum",
        )


def _open(source: str, timeout: float) -> typing.BinaryIO:
    scheme = urllib.parse.urlsplit(source).scheme
    if not source:
        raise BatonError(
            found="no address of the artifact, and the release is not installed on this host",
            expected="app_artifact_url, or the artifact in app_artifact_dir on the controller",
            fix="build the version with build.yml, or set app_artifact_url",
        )
    try:
        if scheme in ("", "file"):
            path = urllib.parse.unquote(urllib.parse.urlsplit(source).path) if scheme else source
            return Path(path).open("rb")
        if scheme in ("http", "https"):
            # Not above: it is two fifths of what app_slot would load at each of its five calls on a host in a release.
            from ansible.module_utils.urls import open_url  # noqa: PLC0415 - see above

            return typing.cast(typing.BinaryIO, open_url(source, timeout=timeout))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise BatonError(
            found=f"{source} cannot be read: {reason}",
            expected="the artifact at that address, as seen from this host",
            fix="build it with build.yml, or correct app_artifact_url or app_artifact_dir",
        ) from error
    raise BatonError(
        found=f"an artifact address with the scheme {scheme!r}: {source}",
        expected="a path on the host, or a file, http or https URL",
        fix="correct app_artifact_url",
    )


def _unpack(archive: Path, tree: Path, *, source: str) -> None:
    tree.mkdir(mode=0o755)
    try:
        with tarfile.open(archive, mode="r:gz") as tar:
            total = 0
            for count, member in enumerate(tar, start=1):
                total += member.size
                _refuse_unsafe(member, count=count, total=total, source=source)
                # Owners are left to the user who unpacks; bits beyond the usual nine are not for a release.
                member.mode &= 0o755
                tar.extract(member, tree, set_attrs=True)
    except (tarfile.TarError, zlib.error, EOFError, ValueError) as error:
        raise BatonError(
            found=f"{source} is not a whole tar.gz archive: {error}",
            expected="an artifact as build.yml makes it",
            fix="build it again",
        ) from error


def _refuse_unsafe(member: tarfile.TarInfo, *, count: int, total: int, source: str) -> None:
    problem = ""
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        problem = "is neither a file, a directory nor a link"
    elif _leaves(member.name):
        problem = "lies outside of the release"
    elif (member.issym() or member.islnk()) and _leaves(_target(member)):
        problem = f"links to {member.linkname}, outside of the release"
    elif total > MAX_UNPACKED_BYTES or count > MAX_MEMBERS:
        problem = f"is beyond the limit of {MAX_UNPACKED_BYTES >> 30} GiB and {MAX_MEMBERS} members"
    if problem:
        raise BatonError(
            found=f"{member.name[:200]!r} in {source} {problem}",
            expected="only files, directories and links inside of the release",
            fix="nothing of it was kept; build the artifact with build.yml",
        )


def _target(member: tarfile.TarInfo) -> str:
    """Return where a link leads: a symbolic one is relative to its own directory, a hard one to the archive's root."""
    return str(PurePosixPath(member.name).parent / member.linkname) if member.issym() else member.linkname


def _leaves(name: str) -> bool:
    """Say whether the archive path ``name`` is absolute or climbs out of the archive's root."""
    depth = 0
    for part in PurePosixPath(name).parts:
        if part == "/":
            return True
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False
