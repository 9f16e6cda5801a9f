"""What ships: all that is needed, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.e2e.environment import ROOT
from tests.install.installed import BIN, NAMESPACE, Installed, install

SHIPPED = {
    "CHANGELOG.rst",
    "CONTRIBUTING.md",
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "changelogs",
    "docs",
    "inventories",
    "meta",
    "playbooks",
    "plugins",
    "requirements.txt",
    "requirements.yml",
    "roles",
}
MOST_BYTES = 1_000_000
CLONE_ONLY = ("playbooks/collections", "tests", ".git", ".venv")


@pytest.fixture(scope="module", name="members")
def _members(tarball: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(tarball) as archive:
        return archive.getmembers()


def test_only_what_is_meant_to_ship_ships(members: list[tarfile.TarInfo]) -> None:
    assert {member.name.split("/")[0] for member in members} == SHIPPED


def test_no_links_and_no_leftovers_ship(members: list[tarfile.TarInfo]) -> None:
    assert [member.name for member in members if not (member.isfile() or member.isdir())] == []
    assert [
        name
        for name in (member.name for member in members)
        if name.endswith((".pyc", ".log", "~")) or "__pycache__" in name
    ] == []
    assert [member.name for member in members if member.name.startswith(CLONE_ONLY)] == []


def test_it_is_small(tarball: Path) -> None:
    assert tarball.stat().st_size < MOST_BYTES


def test_every_plugin_role_playbook_and_inventory_ships(members: list[tarfile.TarInfo]) -> None:
    names = {member.name for member in members}
    for tree in ("plugins", "roles", "playbooks", "inventories", "meta"):
        for path in (ROOT / tree).rglob("*"):
            name = str(path.relative_to(ROOT))
            if path.is_file() and "__pycache__" not in name and not name.startswith("playbooks/collections/"):
                assert name in names


def test_the_version_is_the_one_of_the_changelog(tarball: Path) -> None:
    version = str(yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"])
    releases = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text())["releases"]
    assert version in releases
    assert tarball.name == f"baton-release-{version}.tar.gz"


def verify(path: Path) -> subprocess.CompletedProcess[str]:
    """Let Ansible compare what is installed under ``path`` with its manifest."""
    command = [str(BIN / "ansible-galaxy"), "collection", "verify", "--offline", "baton.release"]
    environment = {"HOME": str(path), "LC_ALL": "C.UTF-8", "PATH": os.defpath, "ANSIBLE_COLLECTIONS_PATH": str(path)}
    return subprocess.run(command, cwd=path, env=environment, capture_output=True, text=True, check=False)


def test_what_is_installed_is_verified_against_its_manifest(tarball: Path, tmp_path: Path) -> None:
    install(tarball, tmp_path)
    verified = verify(tmp_path)
    assert verified.returncode == 0, verified.stdout
    changed = tmp_path.joinpath(*NAMESPACE, "roles", "stage", "tasks", "main.yml")
    changed.write_text(changed.read_text() + "# changed\n")
    verified = verify(tmp_path)
    assert verified.returncode != 0
    assert "roles/stage/tasks/main.yml" in verified.stdout


def test_runs_leave_nothing_in_the_collection(user: Installed) -> None:
    """Nothing but what Python compiles, which ``ansible-galaxy collection verify`` would complain about."""
    home = user.collections.joinpath(*NAMESPACE)
    digests = {
        entry["name"]: entry["chksum_sha256"] for entry in json.loads((home / "FILES.json").read_text())["files"]
    }
    seen = {str(path.relative_to(home)): path for path in home.rglob("*") if "__pycache__" not in path.parts}
    assert set(seen) - set(digests) == {"FILES.json", "MANIFEST.json"}
    files = {name: path for name, path in seen.items() if name in digests and path.is_file()}
    assert [
        name for name, path in files.items() if hashlib.sha256(path.read_bytes()).hexdigest() != digests[name]
    ] == []


def test_ansible_doc_finds_every_module_and_role(user: Installed) -> None:
    # One command for all: each start costs a second.
    found = user.run("ansible-doc", "--metadata-dump", "--no-fail-on-errors", "baton.release", "--json")
    assert found.code == 0, found.output
    documented = json.loads(found.output)["all"]
    modules = {f"baton.release.{path.stem}" for path in (ROOT / "plugins" / "modules").glob("*.py")}
    roles = {f"baton.release.{path.name}" for path in (ROOT / "roles").iterdir()}
    assert modules == {name for name in documented["module"] if name.startswith("baton.")}
    assert roles == {name for name in documented["role"] if name.startswith("baton.")}
    for kind in ("module", "role", "filter"):
        for name, document in documented[kind].items():
            assert "error" not in document, (name, document)


def test_nothing_but_the_installed_collection_is_found(user: Installed) -> None:
    listed = user.run("ansible-galaxy", "collection", "list", "baton.release", "--format", "json")
    assert set(json.loads(listed.output)) == {str(user.collections / "ansible_collections")}
