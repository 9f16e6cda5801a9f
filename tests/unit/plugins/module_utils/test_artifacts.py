"""Artifacts: what is not the expected one, not whole or not safe leaves nothing behind."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import artifacts
from ansible_collections.baton.release.plugins.module_utils.artifacts import fetch_and_unpack
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError


def archive(path: Path, *members: tarfile.TarInfo, text: str = "hello") -> str:
    """Write a tar.gz with the file ``app.txt`` and ``members``; return its SHA-256."""
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("./bin/app.txt")
        info.size, info.mode = len(text), 0o4777
        tar.addfile(info, io.BytesIO(text.encode()))
        for member in members:
            tar.addfile(member)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def member(name: str, kind: bytes = tarfile.SYMTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def unpack(source: str | Path, sha256: str, into: Path) -> None:
    fetch_and_unpack(str(source), sha256=sha256, into=into, timeout=2)


@pytest.fixture
def into(tmp_path: Path) -> Iterator[Path]:
    """The release's directory; whatever a test did, nothing may lie beside it in the end."""
    directory = tmp_path / "releases" / "v1"
    yield directory
    assert [path.name for path in directory.parent.iterdir()] in ([], ["v1"])


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_it_appears_whole_with_sane_modes(tmp_path: Path, into: Path, prefix: str) -> None:
    sha256 = archive(tmp_path / "a b.tar.gz", member("link", target="bin/app.txt"))
    unpack(f"{prefix}{tmp_path}/a b.tar.gz" if not prefix else (tmp_path / "a b.tar.gz").as_uri(), sha256.upper(), into)
    assert (into / "link").read_text() == "hello"
    assert (into / "bin/app.txt").stat().st_mode & 0o7777 == 0o755


def test_over_http(tmp_path: Path, into: Path) -> None:
    sha256 = archive(tmp_path / "a.tar.gz")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]  # the server gives what the base class takes

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(BatonError, match="File not found"):
            unpack(f"{url}/b.tar.gz", sha256, into)
        unpack(f"{url}/a.tar.gz", sha256, into)
        server.shutdown()
    assert (into / "bin/app.txt").exists()


def test_another_artifact_is_refused(tmp_path: Path, into: Path) -> None:
    sha256 = archive(tmp_path / "a.tar.gz")
    archive(tmp_path / "b.tar.gz", text="something else")
    with pytest.raises(BatonError, match=f"Expected: {sha256}"):
        unpack(tmp_path / "b.tar.gz", sha256, into)


def test_a_truncated_artifact_is_refused_even_with_its_own_checksum(tmp_path: Path, into: Path) -> None:
    path = tmp_path / "a.tar.gz"
    archive(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BatonError, match="not a whole tar"):
        unpack(path, hashlib.sha256(path.read_bytes()).hexdigest(), into)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (member("../evil", tarfile.REGTYPE), "outside"),
        (member("/etc/evil", tarfile.REGTYPE), "outside"),
        (member("a/../../evil", tarfile.REGTYPE), "outside"),
        (member("evil", target="/etc/passwd"), "links to /etc/passwd"),
        (member("a/evil", target="../../x"), "links to"),
        (member("evil", tarfile.LNKTYPE, "../../x"), "links to"),
        (member("evil", tarfile.CHRTYPE), "neither a file"),
        (member("evil", tarfile.FIFOTYPE), "neither a file"),
    ],
)
def test_an_unsafe_member_is_refused(tmp_path: Path, into: Path, bad: tarfile.TarInfo, why: str) -> None:
    sha256 = archive(tmp_path / "a.tar.gz", bad)
    with pytest.raises(BatonError, match=why):
        unpack(tmp_path / "a.tar.gz", sha256, into)


@pytest.mark.parametrize(("limit", "least"), [("MAX_MEMBERS", 2), ("MAX_UNPACKED_BYTES", 10)])
def test_an_archive_beyond_the_limits_is_refused(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, limit: str, least: int
) -> None:
    """Ten bytes and two members in all."""
    sha256 = archive(tmp_path / "a.tar.gz", member("link", target="bin/app.txt"), text="ten bytes.")
    monkeypatch.setattr(artifacts, limit, least - 1)
    with pytest.raises(BatonError, match="beyond the limit"):
        unpack(tmp_path / "a.tar.gz", sha256, into)
    monkeypatch.setattr(artifacts, limit, least)
    unpack(tmp_path / "a.tar.gz", sha256, into)


@pytest.mark.parametrize(
    "source", ["", "ftp://127.0.0.1/a.tar.gz", "/does/not/exist.tar.gz", "http://127.0.0.1:9/a.tar.gz"]
)
def test_what_cannot_be_had_is_said(into: Path, source: str) -> None:
    with pytest.raises(BatonError, match=r"app_artifact_url"):
        unpack(source, "0" * 64, into)
