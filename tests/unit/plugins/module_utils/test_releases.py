"""Installed releases: what they are, which are proven, and which may be removed."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.releases import Releases


def install(releases: Releases, tmp_path: Path, version: str, *, content: str | None = None) -> bool:
    path = tmp_path / "artifact.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("VERSION")
        body = (content or version).encode()
        info.size = len(body)
        tar.addfile(info, io.BytesIO(body))
    # gzip writes the time into its header, so the same content has another checksum each second.
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return releases.install(version, source=str(path), sha256=sha256, timeout=1, check_mode=False)


def versions(releases: Releases) -> list[str]:
    return [mark["version"] for mark in releases.installed()]


def test_installing_again_changes_nothing(tmp_path: Path) -> None:
    releases = Releases(tmp_path / "app")
    install(releases, tmp_path, "v1")
    mark = releases.mark("v1")
    assert mark is not None
    assert not releases.install("v1", source="/nowhere", sha256=mark["sha256"], timeout=1, check_mode=False)


def test_one_version_is_one_artifact(tmp_path: Path) -> None:
    releases = Releases(tmp_path / "app")
    install(releases, tmp_path, "v1")
    with pytest.raises(BatonError, match="one version is one artifact"):
        install(releases, tmp_path, "v1", content="another build")


def test_an_installation_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    releases = Releases(tmp_path / "app")
    releases.path("v1").mkdir(parents=True)
    (releases.path("v1") / "half").touch()
    assert versions(releases) == []
    assert install(releases, tmp_path, "v1")
    assert not (releases.path("v1") / "half").exists()


def test_a_release_is_proven_once(tmp_path: Path) -> None:
    releases = Releases(tmp_path / "app")
    install(releases, tmp_path, "v1")
    assert releases.verify("v1", check_mode=False) is True
    assert releases.verify("v1", check_mode=False) is False
    with pytest.raises(BatonError, match="v2 is not installed"):
        releases.verify("v2", check_mode=False)


@pytest.mark.parametrize(
    ("keep", "proven", "needed", "left"),
    [
        pytest.param(2, [], [], ["v5", "v4"], id="the latest stay"),
        pytest.param(2, [], ["v1"], ["v5", "v4", "v1"], id="what a slot holds stays"),
        pytest.param(1, ["v1", "v2", "v3"], [], ["v3", "v2"], id="the last two proven ones stay"),
        pytest.param(2, ["v1"], ["v5"], ["v5", "v1"], id="releases that failed push no proven one out"),
        pytest.param(0, ["v5", "v4"], ["v5"], ["v5", "v4"], id="keeping nothing keeps the ways back"),
        pytest.param(9, [], [], ["v5", "v4", "v3", "v2", "v1"], id="fewer than the limit"),
    ],
)
def test_pruning(tmp_path: Path, keep: int, proven: list[str], needed: list[str], left: list[str]) -> None:
    releases = Releases(tmp_path / "app")
    for version in ("v1", "v2", "v3", "v4", "v5"):
        install(releases, tmp_path, version)
    for version in proven:
        releases.verify(version, check_mode=False)
    releases.prune(keep=keep, needed=needed, check_mode=True)
    assert len(versions(releases)) == 5
    releases.prune(keep=keep, needed=needed, check_mode=False)
    assert versions(releases) == left
    assert sorted(path.name for path in releases.directory.iterdir()) == sorted(left)
