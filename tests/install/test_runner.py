"""Under ansible-runner, with its directories laid out and its processes ended as AWX does it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.environment import PLAYBOOK_SECONDS, SETTINGS
from tests.install.installed import BIN, Installed
from tests.witness.checker import judge

# The inventory is checked on the controller first.
HOSTS = {"localhost", "app1", "app2", "app3", "lb1"}
# AWX imports an inventory, and gives each job a script that prints what it has.
SCRIPT = """\
#!/usr/bin/env python3
import pathlib
print(pathlib.Path(__file__).with_name(".hosts.json").read_text())
"""
EVENT_SECONDS = 300
"""Long, for a machine that has other things to do."""


@dataclass
class Job:
    """What a run under ansible-runner left in its artifacts."""

    artifacts: Path

    @property
    def status(self) -> str:
        """The word that AWX shows."""
        return (self.artifacts / "status").read_text()

    @property
    def output(self) -> str:
        """What the job printed."""
        return (self.artifacts / "stdout").read_text()

    def events(self) -> list[dict[str, Any]]:
        """Return the events written so far, in order."""
        whole = [
            path for path in (self.artifacts / "job_events").glob("*.json") if not path.name.endswith("-partial.json")
        ]
        events = [json.loads(path.read_text()) for path in whole]
        return sorted(events, key=lambda event: int(event["counter"]))

    def tasks(self) -> list[str]:
        """Return the names of the tasks that began."""
        starts = [event["event_data"] for event in self.events() if event["event"] == "playbook_on_task_start"]
        return [str(data["name"]).rsplit(" : ", 1)[-1] for data in starts]


class Awx:
    """A private data directory, as AWX makes one for each job: the project, its collections, the inventory, the variables."""

    def __init__(self, home: Path, user: Installed, tarball: Path) -> None:
        self.home = home
        self.user = user
        (home / "project" / "collections").mkdir(parents=True)
        (home / "project" / "release.yml").write_text("- name: Release\n  import_playbook: baton.release.release\n")
        requirements = home / "project" / "collections" / "requirements.yml"
        requirements.write_text(json.dumps({"collections": [{"name": str(tarball), "type": "file"}]}))
        self.collections = home / "requirements_collections"
        install = [
            "collection",
            "install",
            "--offline",
            "-r",
            "collections/requirements.yml",
            "-p",
            str(self.collections),
        ]
        subprocess.run([str(BIN / "ansible-galaxy"), *install], cwd=home / "project", env=self.variables(), check=True)
        (home / "inventory").mkdir()
        exported = user.run("ansible-inventory", "-i", "inventories/local", "--list", "--export")
        (home / "inventory" / ".hosts.json").write_text(exported.output)
        (home / "inventory" / "hosts").write_text(SCRIPT)
        (home / "inventory" / "hosts").chmod(0o700)
        (home / "env").mkdir()
        (home / "env" / "envvars").write_text(json.dumps(self.variables()))
        (home / "env" / "settings").write_text(json.dumps({"suppress_ansible_output": True, "pexpect_timeout": 1}))

    def variables(self) -> dict[str, str]:
        """Return the environment of a job; where the embedded environment is, is part of it."""
        return {
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "BATON_LOCAL_ROOT": str(self.user.root),
            "HOME": str(self.user.home),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
        }

    def launch(self, name: str, *arguments: str, **variables: Any) -> tuple[Job, subprocess.Popen[bytes]]:
        """Begin a job."""
        (self.home / "env" / "extravars").write_text(json.dumps({**SETTINGS, **variables}))
        command = [str(BIN / "ansible-runner"), "run", str(self.home), "-p", "release.yml", "--ident", name, *arguments]
        process = subprocess.Popen(command, env=self.variables(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return Job(self.home / "artifacts" / name), process

    def run(self, name: str, *arguments: str, **variables: Any) -> Job:
        """Run a job to its end."""
        job, process = self.launch(name, *arguments, **variables)
        process.wait(PLAYBOOK_SECONDS)
        return job

    def cancel(self, name: str, task: str, **variables: Any) -> Job:
        """Begin a job and cancel it, as AWX does, when ``task`` has begun."""
        job, process = self.launch(name, **variables)
        deadline = time.monotonic() + EVENT_SECONDS
        while not job.artifacts.exists() or task not in job.tasks():
            assert process.poll() is None, job.output
            assert time.monotonic() < deadline, job.output
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        process.wait(PLAYBOOK_SECONDS)
        return job


@pytest.fixture(scope="module", name="awx")
def _awx(tmp_path_factory: pytest.TempPathFactory, user: Installed, tarball: Path) -> Awx:
    return Awx(tmp_path_factory.mktemp("awx"), user, tarball)


def secrets(user: Installed) -> set[str]:
    """Return every secret of the environment, and the password inside of each that is a URL."""
    values = set(json.loads((user.root / "secrets.json").read_text()).values())
    return values | {str(password) for value in values if (password := urllib.parse.urlsplit(value).password)}


def test_a_job_releases_and_shows_no_secret(awx: Awx) -> None:
    user, version = awx.user, awx.user.new_version()
    job = awx.run("release", "-vvvv", release_version=version)
    assert job.status == "successful", job.output
    assert user.served()["version"] == version
    results = [event["event_data"] for event in job.events() if event["event"] == "runner_on_ok"]
    assert {data["host"] for data in results} == HOSTS
    assert all(str(data["task_path"]).startswith(str(awx.collections)) for data in results)
    shown = [
        str(path)
        for path in job.artifacts.rglob("*")
        if path.is_file()
        for secret in secrets(user)
        if secret.encode() in path.read_bytes()
    ]
    assert len(secrets(user)) > 1
    assert shown == []


def test_a_job_that_fails_says_so(awx: Awx) -> None:
    live = awx.user.live()
    job = awx.run("refused", release_version="v7.7.7")
    assert job.status == "failed", job.output
    assert "v7.7.7" in job.output
    assert awx.user.live() == live


def test_a_cancelled_job_harms_no_traffic_and_is_finished_by_the_next(awx: Awx) -> None:
    user, version = awx.user, awx.user.new_version()
    with user.witness("cancelled") as witness:
        witness.wait_until_flowing()
        cancelled = awx.cancel("cancelled", "Renew the lease", release_version=version, watch_seconds=60)
        assert cancelled.status == "canceled", cancelled.output
        assert user.served()["version"] == version
        again = awx.run("again", release_version=version)
        ledger = witness.stop()
    assert again.status == "successful", again.output
    assert judge(ledger).ok, judge(ledger).reasons
    assert user.served()["version"] == version
    assert not user.lease()["owner"]


def test_no_process_of_a_cancelled_job_is_left(awx: Awx) -> None:
    awx.cancel("left", "Install the version", release_version=awx.user.new_version())
    deadline = time.monotonic() + EVENT_SECONDS
    while processes(str(awx.home)):
        assert time.monotonic() < deadline, processes(str(awx.home))
        time.sleep(0.1)


def processes(word: str) -> list[str]:
    """Return the command lines of all processes that name ``word``."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line and path.parent.name != str(os.getpid()):
            lines.append(line)
    return lines
