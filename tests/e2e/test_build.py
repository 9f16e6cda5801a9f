# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The real playbook build.yml, on small git repositories."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.environment import ROOT, warmly

PLAYBOOK = ROOT / "playbooks" / "build.yml"
# Beside the interpreter of the tests, whatever PATH says; not resolved, because a venv's python is a link.
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

COMMANDS = {
    "build_command": ["sh", "-c", "umask; mkdir built && cp greeting built/ && ln greeting built/linked"],
    "build_lint_command": ["sh", "-c", "touch .lint_cache && test -x run.sh"],
    "build_test_command": ["sh", "-c", "touch .coverage built/report && grep -q v1.0.0 baton.json && mktemp"],
}


@dataclass(frozen=True)
class Run:
    """How one run of the playbook ended."""

    code: int
    output: str

    @property
    def told(self) -> str:
        """The output without line breaks: Ansible folds long messages."""
        return " ".join(self.output.split())

    @property
    def changed(self) -> int:
        recap = re.search(r"changed=(\d+)", self.output)
        assert recap, self.output
        return int(recap[1])


@dataclass(frozen=True)
class Bench:
    """A directory to build in: its own home, temporary directory and output directory."""

    directory: Path
    temporary: Path
    repository: Path
    umask: int = 0o022
    timezone: str = "UTC"

    @property
    def output(self) -> Path:
        return self.directory / "output"

    def build(self, *arguments: str, version: str = "v1.0.0", **variables: Any) -> Run:
        self.directory.mkdir(exist_ok=True)
        self.temporary.mkdir(exist_ok=True)
        inputs = {
            "ansible_connection": "severable",
            "app_name": "greeter",
            "release_version": version,
            "build_repository": str(self.repository),
            "build_output_dir": str(self.output),
            **COMMANDS,
            **variables,
        }
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "LC_ALL": "C.UTF-8",
            "TZ": self.timezone,
            "TMPDIR": str(self.temporary),
            "ANSIBLE_LOCALHOST_WARNING": "False",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
            **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
            **warmly(self.directory),
        }
        command = [str(ANSIBLE_PLAYBOOK), str(PLAYBOOK), "--extra-vars", json.dumps(inputs), *arguments]
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            umask=self.umask,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Run(ended.returncode, ended.stdout + ended.stderr)

    def manifest(self, name: str = "greeter-v1.0.0") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.output / f"{name}.json").read_text(encoding="utf-8"))
        return found

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.temporary.iterdir())


def git(directory: Path, *arguments: str) -> None:
    """Run git with a person and a date of its own, and with nobody's configuration."""
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{role}_NAME": "Tester" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": "tester@example.invalid" for role in ("AUTHOR", "COMMITTER")},
    }
    subprocess.run(["git", *arguments], cwd=directory, env=environment, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    directory = tmp_path / "repository"
    directory.mkdir()
    git(directory, "init", "--quiet", "--initial-branch=main")
    (directory / "greeting").write_text("hello\n", encoding="utf-8")
    (directory / "run.sh").write_text("#!/bin/sh\ncat greeting\n", encoding="utf-8")
    (directory / "run.sh").chmod(0o755)
    (directory / "start").symlink_to("run.sh")
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message=Greet")
    git(directory, "tag", "--annotate", "--message=Release", "v1.0.0")
    git(directory, "tag", "v1.0.1")
    return directory


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Return a directory with a short path: ansible-core makes a socket in TMPDIR, whose path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="baton-") as directory:
        yield Path(directory)


@pytest.fixture
def bench(tmp_path: Path, temporary: Path, repository: Path) -> Bench:
    return Bench(tmp_path / "bench", temporary / "bench", repository)


def test_a_tag_gives_the_same_bytes_wherever_it_is_built(
    tmp_path: Path, temporary: Path, repository: Path, bench: Bench
) -> None:
    clone = tmp_path / "another clone"
    git(tmp_path, "clone", "--quiet", str(repository), str(clone))
    other = Bench(tmp_path / "another bench", temporary / "other", clone, umask=0o077, timezone="Asia/Kolkata")
    other.directory.mkdir()
    (other.directory / ".gitconfig").write_text("[tar]\n\tumask = 0077\n[core]\n\tautocrlf = true\n", encoding="utf-8")
    for each in (bench, other):
        run = each.build()
        assert (run.code, run.changed > 0) == (0, True), run.output
        assert each.leftovers() == []
        assert f"greeter-v1.0.0.tar.gz sha256:{each.manifest()['sha256']}" in run.told
    assert bench.manifest() == other.manifest()
    assert {path.name for path in other.output.iterdir()} == {"greeter-v1.0.0.json", "greeter-v1.0.0.tar.gz"}

    with tarfile.open(other.output / "greeter-v1.0.0.tar.gz") as archive:
        members = {member.name: member for member in archive.getmembers()}
        modes = {name: oct(member.mode) for name, member in members.items() if not member.issym()}
        told = json.loads((archive.extractfile("./baton.json") or pytest.fail("no baton.json")).read())
    assert modes == {
        ".": "0o755",
        "./baton.json": "0o644",
        "./built": "0o755",
        "./built/greeting": "0o644",
        "./built/linked": "0o644",
        "./greeting": "0o644",
        "./run.sh": "0o755",
    }
    assert members["./start"].linkname == "run.sh"
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members.values()} == {(0, 0, "", "")}
    assert told == {"name": "greeter", "version": "v1.0.0", "commit": bench.manifest()["commit"]}
    assert bench.manifest()["size"] == (bench.output / "greeter-v1.0.0.tar.gz").stat().st_size


def test_what_is_there_is_built_again_only_when_it_must_be(bench: Bench) -> None:
    artifact = bench.output / "greeter-v1.0.0.tar.gz"
    assert bench.build().code == 0
    first = bench.manifest()
    again = bench.build()
    assert (again.code, again.changed) == (0, 0), again.output
    artifact.write_bytes(b"broken")
    repaired = bench.build()
    assert (repaired.code, repaired.changed > 0, bench.manifest()) == (0, True, first), repaired.output
    otherwise = bench.build(build_test_command=[])
    assert otherwise.changed > 0, otherwise.output
    assert bench.manifest()["built_with"] != first["built_with"]
    assert bench.manifest()["sha256"] == first["sha256"]


@pytest.mark.parametrize(
    ("inputs", "complaints"),
    [
        ({"version": "v9.9.9"}, ["Found: no tag v9.9.9", "v1.0.0, v1.0.1"]),
        ({"version": "main"}, ["Found: no tag main"]),
        ({"version": "v1.0.1"}, ["Found: v1.0.1 is a lightweight tag", "git tag -a -f v1.0.1"]),
        ({"version": "latest"}, ["never latest"]),
        ({"version": ""}, ["name the tag with -e release_version"]),
        ({"version": "../v1.0.0"}, ["Found: app name 'greeter', version '../v1.0.0'"]),
        ({"build_output_dir": "output"}, ["Found:", "absolute paths"]),
        ({"build_repository": "/nonexistent"}, ["/nonexistent' does not appear to be a git repository"]),
    ],
)
def test_what_cannot_be_built_is_refused(bench: Bench, inputs: dict[str, Any], complaints: list[str]) -> None:
    run = bench.build(**inputs)
    assert run.code != 0
    assert all(complaint in run.told for complaint in complaints), run.output
    assert not bench.output.exists()
    assert bench.leftovers() == []


def test_a_lightweight_tag_can_be_allowed(bench: Bench) -> None:
    allowed = {"build_require_annotated_tag": False, "build_test_command": []}
    assert bench.build(version="v1.0.1", **allowed).code == 0
    assert bench.manifest("greeter-v1.0.1")["tag_annotated"] is False


def test_failing_tests_leave_nothing_but_their_output(bench: Bench) -> None:
    run = bench.build(build_test_command=["sh", "-c", "mktemp; echo 1 of 2 tests failed; exit 3"])
    assert run.code != 0
    assert "1 of 2 tests failed" in run.output
    assert not bench.output.exists()
    assert bench.leftovers() == []


def test_a_command_that_does_not_end_is_ended(bench: Bench) -> None:
    run = bench.build(build_command=["sleep", "60"], build_timeout=1)
    assert run.code != 0
    assert "sending signal TERM to command" in run.output
    assert bench.leftovers() == []


def test_check_mode_says_what_it_would_build_and_writes_nothing(bench: Bench) -> None:
    run = bench.build("--check")
    assert (run.code, run.changed) == (0, 1), run.output
    assert f"Would build {bench.output}/greeter-v1.0.0.tar.gz from v1.0.0, commit " in run.told
    assert not bench.output.exists()
    assert bench.leftovers() == []


def test_the_shop_gives_the_same_bytes_twice(tmp_path: Path, temporary: Path, artifacts: Path) -> None:
    """Those of the environments were built in another directory, at another time."""
    make_repository = ROOT / "examples" / "shop" / "make_repository.py"
    shop = {
        "app_name": "shop",
        "build_command": [sys.executable, "build.py"],
        "build_lint_command": [sys.executable, "-m", "ruff", "check", "--no-cache"],
        "build_test_command": [sys.executable, "-m", "pytest", "-q"],
    }
    bench = Bench(tmp_path / "bench", temporary / "bench", tmp_path / "bench" / "shop")
    subprocess.run([sys.executable, str(make_repository), str(bench.repository)], check=True, capture_output=True)
    for version in ("v1.1.0", "v1.2.1"):
        run = bench.build(version=version, **shop)
        assert run.code == 0, run.output
        assert bench.leftovers() == []
    other = json.loads((artifacts / "shop-v1.1.0.json").read_text())
    assert bench.manifest("shop-v1.1.0")["sha256"] == other["sha256"]
