"""An embedded environment of a test's own, and what a test asks and does to it."""

from __future__ import annotations

import configparser
import contextlib
import fnmatch
import hashlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.e2e import versions
from tests.speed import CHEAPER, warm
from tests.witness.process import Witness

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "tests" / "plugins"
APP_HOSTS = ("app1", "app2", "app3")
SETTINGS = {"watch_seconds": 1, "watch_slice_seconds": 1, "watch_probe_rate": 40, "traffic_wait": 10}
PLAYBOOK_SECONDS = 600
"""After this long a playbook hangs. A busy machine of two cores needed more than 180 for a rolling update."""
WITNESS_SECONDS = 900.0
"""Longer than any procedure under traffic takes on a busy machine."""
# Logs, the database's own files, what the tests themselves bring along, and locks that hold nothing.
NOISE = (
    "*.log",
    "*.log.*",
    "*.pid",
    "*.lock",
    "access*",
    "artifacts",
    "controllers",
    "ledgers",
    "postgres",
    "severed",
    "tasks.jsonl",
    "vendor",
)
_NOISY = re.compile("|".join(map(fnmatch.translate, NOISE)))
COLUMNS = "select table_name, column_name, data_type from information_schema.columns where table_schema = 'public' order by 1, 2"


@dataclass(frozen=True)
class Played:
    """A playbook that ran: its exit code, its output and each result of a task."""

    code: int
    output: str
    tasks: list[dict[str, Any]] = field(default_factory=list)

    def changed(self) -> list[str]:
        """Return the tasks that changed something, with their hosts."""
        return [f"{one['task']} ({one['host']})" for one in self.tasks if one["changed"]]

    def remote_calls(self, host: str) -> list[str]:
        """Return the tasks that started Python on ``host``."""
        return [one["task"] for one in self.tasks if one["host"] == host and one["remote"]]

    def ran(self, task: str) -> list[str]:
        """Return the hosts that ``task`` ran on."""
        return [one["host"] for one in self.tasks if one["task"] == task]


def warmly(severed: Path) -> dict[str, str]:
    """Return the environment variables of a playbook whose hosts are connected by ``severable``, which looks for files in ``severed``."""
    return {
        **CHEAPER,
        **warm(),
        "BATON_SEVERED": str(severed),
        "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS / "connection"),
        "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "saboteur",
    }


class Environment:
    """Three app hosts, a load balancer and a database under ``root``."""

    def __init__(self, root: Path, settings: Mapping[str, Any] | None = None) -> None:
        """Take a directory that may have been used before, and what all playbooks get beside the settings of tests."""
        self.root = root
        self.settings = {**SETTINGS, **(settings or {})}
        self.severed = root / "severed"
        self.severed.mkdir(parents=True, exist_ok=True)
        self.overlay = root / "overlay.yml"
        # The same inventory, with connections that a test can cut.
        self.overlay.write_text(json.dumps({"all": {"vars": {"ansible_connection": "severable"}}}))
        self._versions = 0

    @property
    def url(self) -> str:
        """The address that users ask."""
        ports = json.loads((self.root / "ports.json").read_text())
        return f"http://127.0.0.1:{ports['lb1']['public']}"

    def host(self, name: str) -> Path:
        """Return the directory of a host."""
        return self.root / "hosts" / name

    def state(self, name: str) -> Path:
        """Return the state directory of the app on a host."""
        return self.host(name) / "baton" / "shop"

    def command(self, playbook: str, *arguments: str, **variables: Any) -> list[str]:
        """Return the command line of a playbook."""
        settings = json.dumps({**self.settings, **variables})
        # Arguments may name an inventory of their own instead.
        own = ("-i", str(ROOT / "inventories" / "local"), "-i", str(self.overlay))
        inventories = () if "--inventory" in arguments else own
        return [
            str(Path(sys.executable).with_name("ansible-playbook")),
            f"playbooks/{playbook}.yml",
            *inventories,
            *arguments,
            "-e",
            settings,
        ]

    def variables(self, tasks: Path | None = None, **more: str) -> dict[str, str]:
        """Return the environment variables of a playbook."""
        own = {"BATON_LOCAL_ROOT": str(self.root), "ANSIBLE_NOCOLOR": "1", **warmly(self.severed)}
        return {**os.environ, **own, **({"BATON_TASKS": str(tasks)} if tasks else {}), **more}

    def play(
        self, playbook: str, *arguments: str, before: str = "", nth: int = 0, sabotage: str = "", **variables: Any
    ) -> Played:
        """Run a playbook to its end; the shell command ``sabotage`` runs just before the ``nth`` task (0: each) named ``before``."""
        tasks = self.root / "tasks.jsonl"
        tasks.unlink(missing_ok=True)
        disturbance = {"BATON_SABOTAGE": sabotage, "BATON_SABOTAGE_BEFORE": before} if sabotage else {}
        disturbance |= {"BATON_SABOTAGE_NTH": str(nth)} if nth else {}
        done = subprocess.run(
            self.command(playbook, *arguments, **variables),
            cwd=ROOT,
            env=self.variables(tasks, **disturbance),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PLAYBOOK_SECONDS,
            check=False,
        )
        lines = tasks.read_text().splitlines() if tasks.exists() else []
        return Played(done.returncode, done.stdout, [json.loads(line) for line in lines])

    def must(self, playbook: str, *arguments: str, **variables: Any) -> Played:
        """Run a playbook that has to go well."""
        played = self.play(playbook, *arguments, **variables)
        assert played.code == 0, played.output
        return played

    def release(self, version: str, *arguments: str, **more: Any) -> Played:
        """Release ``version``, whatever comes of it."""
        return self.play("release", *arguments, release_version=version, **more)

    def status(self) -> str:
        """Return the table of status.yml, its white space made single."""
        return re.sub(r"[ \t]+", " ", self.must("status").output)

    def live(self) -> str:
        """Return the live slot, from the load balancer's own file."""
        return self._word().partition(":")[0]

    def share(self) -> int:
        """Return the per cent of the clients that reach the other slot, from the same file."""
        return int(self._word().rpartition(":")[2]) if ":" in self._word() else 0

    def _word(self) -> str:
        path = self.state("lb1") / "live"
        return path.read_text() if path.exists() else "none"

    def served(self) -> dict[str, Any]:
        """Return what users get from /health."""
        with urllib.request.urlopen(f"{self.url}/health", timeout=10) as answer:
            body: dict[str, Any] = json.load(answer)
        return body

    def slot(self, host: str, slot: str) -> dict[str, Any]:
        """Return what a slot of a host was given."""
        path = self.host(host) / "shop" / "slots" / slot / "slot.json"
        record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return record

    def runs(self) -> list[dict[str, Any]]:
        """Return the events of the journal."""
        path = self.state("lb1") / "journal.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def lease(self) -> dict[str, Any]:
        """Return the lock as it is on the state host."""
        lease: dict[str, Any] = json.loads((self.state("lb1") / "lease.json").read_text())
        return lease

    def pids(self) -> dict[str, int]:
        """Return the pid of each program of every host, from the hosts' own supervisords."""
        return {
            f"{host}/{program['name']}": program["pid"]
            for host in (*APP_HOSTS, "lb1", "db1")
            for program in self.programs(host)
            if program["statename"] == "RUNNING"
        }

    def programs(self, host: str) -> list[dict[str, Any]]:
        """Ask a host's supervisord what it runs; nothing, where none answers."""
        config = configparser.RawConfigParser()
        config.read(self.host(host) / "supervisor" / "supervisord.conf")
        if not config.has_section("supervisorctl"):
            return []
        control = config["supervisorctl"]
        address = control["serverurl"].replace("//", f"//{control['username']}:{control['password']}@")
        with contextlib.suppress(OSError), xmlrpc.client.ServerProxy(address) as supervisord:
            programs: Any = supervisord.supervisor.getAllProcessInfo()
            return list(programs)
        return []

    def supervisorctl(self, host: str, *arguments: str) -> str:
        """Ask a host's supervisord, as a person would."""
        config = self.host(host) / "supervisor" / "supervisord.conf"
        command = [str(Path(sys.executable).with_name("supervisorctl")), "-c", str(config), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def sever(self, host: str) -> str:
        """Return the shell command that cuts the connection to ``host``."""
        return f"touch {self.severed / host}"

    def mend(self) -> None:
        """Connect all hosts again."""
        for path in self.severed.iterdir():
            path.unlink()

    def witness(
        self,
        name: str,
        *,
        rate: float = 40,
        paths: Sequence[str] = ("/", "/products"),
        posts: Sequence[tuple[str, str]] = (),
        timeout: float = 5,
    ) -> Witness:
        """Return a client that writes down every request; to be used as a context manager."""
        ledger = self.root / "ledgers" / f"{name}-{time.time_ns()}.jsonl"
        return Witness(self.url, ledger, seconds=WITNESS_SECONDS, rate=rate, paths=paths, posts=posts, timeout=timeout)

    def new_version(self, *, edits: dict[str, str] | None = None, like: str = "v1.1.0") -> str:
        """Make the artifact of a version that was never released, and return its name.

        Args:
            edits: text to append to files of the app, by path in the release.
            like: the built version to start from.
        """
        self._versions += 1
        version = f"v9.0.{self._versions}"
        versions.make(self.root / "artifacts", version, like=like, edits=edits or {})
        return version

    def snapshot(self) -> dict[str, str]:
        """Return a digest of every file of the environment but logs and what the test itself brings."""
        seen = {}
        for directory, names, files in os.walk(self.root):
            names[:] = [name for name in names if not _NOISY.match(name)]  # os.walk leaves out the others
            for name in (*names, *files):
                path = Path(directory, name)
                if not _NOISY.match(name):
                    content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
                    seen[str(path.relative_to(self.root))] = f"{path.lstat().st_mode:o} {content}"
        return seen

    def schema(self) -> str:
        """Return every column of the database and the revision it is at, asked directly."""
        secrets = json.loads((self.root / "secrets.json").read_text())
        with psycopg.connect(secrets["DATABASE_URL"].replace("+psycopg", "")) as connection:
            columns = connection.execute(COLUMNS).fetchall()
            versioned = any(table == "alembic_version" for table, *_ in columns)
            revision = connection.execute("select version_num from alembic_version").fetchall() if versioned else "none"
            return f"{columns} {revision}"
