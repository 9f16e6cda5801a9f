"""Real runs of ansible-playbook, as verbose as they get: the value of a secret is in its env file and nowhere else."""

from __future__ import annotations

import dataclasses
import os
import stat
import subprocess
import sys
import tempfile
import threading
import typing
from pathlib import Path

import pytest
import yaml
from ansible_collections.baton.release.plugins.module_utils import envfile

COLLECTIONS = Path(__file__).parents[4] / "playbooks" / "collections"
ANSIBLE_PLAYBOOK = (sys.executable, "-m", "ansible", "playbook")
CANARY = f"canary4f1d9a-{os.getpid()}-"  # each worker looks at the processes of the others too
VALUE = f"{CANARY} \"q\" 'q' $HOME `id` {{{{ 7 * 7 }}}}\n\\second line "
OTHER_VALUE = f"{CANARY}-of-the-file"


@dataclasses.dataclass
class Run:
    """One run: its exit code, all it printed, and every place in which the canary was seen besides."""

    code: int
    output: str
    seen: list[str]


class CommandLines(threading.Thread):
    """Looks through the command lines of all processes until told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[str] = set()
        self.looks = 0
        self._stop_now = threading.Event()

    def run(self) -> None:
        while not self._stop_now.wait(0.01):
            self.looks += 1
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                if CANARY in line:
                    self.seen.add(line)

    def stop(self) -> None:
        self._stop_now.set()
        self.join()


class Lab:
    """A home directory in which playbooks run against this very host."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.dest = home / "delivered" / "secrets.env"
        self.store = home / "shop.json"
        self.store.write_text(f'{{"shop_pin": "{OTHER_VALUE}"}}')
        self.store.chmod(0o600)

    def play(self, tasks: list[dict[str, typing.Any]], *arguments: str, **environment: str) -> Run:
        """Run the tasks as one play with the most output there is."""
        playbook = self.home / "playbook.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        watch = CommandLines()
        watch.start()
        done = subprocess.run(
            [*ANSIBLE_PLAYBOOK, "-i", "localhost,", "-c", "local", "-vvvvv", "--diff", *arguments, str(playbook)],
            env={
                "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
                "ANSIBLE_CACHE_PLUGIN": "jsonfile",
                "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.home / "facts"),
                "ANSIBLE_INJECT_INVOCATION": "1",
                "ANSIBLE_LOG_PATH": str(self.home / "log"),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
                "HOME": str(self.home),
                "LC_ALL": "C.UTF-8",
                "PATH": os.defpath,
                "SHOP_TOKEN": VALUE,
                "TMPDIR": str(self.home),
                **environment,
            },
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        watch.stop()
        assert watch.looks
        return Run(done.returncode, done.stdout, [*watch.seen, *self._files_with_the_canary()])

    def _files_with_the_canary(self) -> list[str]:
        files = [path for path in self.home.rglob("*") if path.is_file() and path not in (self.dest, self.store)]
        return [str(path) for path in files if CANARY.encode() in path.read_bytes()]


@pytest.fixture(name="lab")
def _lab() -> typing.Iterator[Lab]:
    # Ansible 2.21 has a socket in its home, whose path may have a hundred characters; that of pytest's directory grows with each run.
    with tempfile.TemporaryDirectory() as home:
        yield Lab(Path(home))


def fetching(name: str, **options: typing.Any) -> dict[str, typing.Any]:
    return {"name": name, "baton.release.secret_fetch": options, "register": "result", "ignore_errors": True}


def tasks_of_all_kinds(lab: Lab) -> list[dict[str, typing.Any]]:
    """Return tasks that deliver, repeat, change, and fail in each way there is."""
    env: dict[str, typing.Any] = {"store": "env", "secrets": {"TOKEN": "SHOP_TOKEN"}, "dest": str(lab.dest)}
    file = {"store": "file", "path": "shop.json", "secrets": {"PIN": "shop_pin"}, "dest": str(lab.dest)}
    fence = {"state_dir": str(lab.home / "state")}
    return [
        fetching("Deliver", **env),
        {"name": "Show the result", "ansible.builtin.debug": {"var": "result"}},
        fetching("Repeat", **env),
        fetching("From a file here", **file),
        fetching("From a file there", **{**file, "path": str(lab.store)}, remote_src=True),
        fetching("Without the right to a directory", **{**env, "dest": str(lab.home)}),
        fetching("Without all keys", **{**env, "secrets": {"TOKEN": "SHOP_TOKEN", "LOST": "SHOP_LOST"}}),
        fetching("With a wrong name", **{**env, "secrets": {"TO-KEN": "SHOP_TOKEN"}}),
        fetching("With a wrong option", **env, wrong=1),
        fetching("With values in the task", **env, values={"A": "B"}),
        fetching("Under a lease", **env, **fence, token=2),
        fetching("Under a lease that is over", **env, **fence, token=1),
        {**fetching("In the background", **env), "async": 10, "poll": 1},
        {**fetching("With a variable as environment", **env), "environment": {"HARMLESS": "1"}},
    ]


@pytest.mark.parametrize("check", [(), ("--check",)], ids=["real", "check"])
@pytest.mark.parametrize("pipelining", ["0", "1"])
def test_no_value_leaves_the_env_file(lab: Lab, pipelining: str, check: tuple[str, ...]) -> None:
    run = lab.play(tasks_of_all_kinds(lab), *check, ANSIBLE_PIPELINING=pipelining)
    assert run.code == 0, run.output
    assert "unreachable=0" in run.output
    assert CANARY not in run.output
    assert run.seen == []
    assert '"invocation"' in run.output
    for said in (
        "+ TOKEN",
        "SHOP_LOST (for LOST)",
        f"a directory at {lab.home}",
        "names 'TO-KEN'",
        "the option values in a task",
    ):
        assert said in run.output
    assert lab.dest.exists() != bool(check)


@pytest.mark.parametrize("pipelining", ["0", "1"])
def test_not_even_the_debug_output_shows_a_value(lab: Lab, pipelining: str) -> None:
    run = lab.play(tasks_of_all_kinds(lab), ANSIBLE_DEBUG="1", ANSIBLE_PIPELINING=pipelining)
    assert run.code == 0
    assert "done with _execute_module (baton.release.secret_fetch" in run.output
    assert CANARY not in run.output
    assert run.seen == []


def test_the_value_arrives_as_it_is(lab: Lab) -> None:
    run = lab.play(tasks_of_all_kinds(lab)[:1])
    assert run.code == 0, run.output
    assert envfile.parse(lab.dest.read_text()) == {"TOKEN": VALUE}
    assert stat.S_IMODE(lab.dest.stat().st_mode) == 0o600
    assert stat.S_IMODE(lab.dest.parent.stat().st_mode) == 0o700
    assert "changed=1" in run.output
    assert "changed=0" in lab.play(tasks_of_all_kinds(lab)[:1]).output


def test_the_scan_finds_what_leaks(lab: Lab) -> None:
    shown = {"name": "Show", "ansible.builtin.debug": {"msg": "{{ lookup('env', 'SHOP_TOKEN') }}"}}
    argv = ["sh", "-c", "sleep 0.3; :", "sh", "{{ lookup('env', 'SHOP_TOKEN') }}"]
    run = lab.play([shown, {"name": "Say", "ansible.builtin.command": {"argv": argv}}])
    assert CANARY in run.output
    assert any(line.startswith("sh -c sleep ") for line in run.seen)
    assert str(lab.home / "log") in run.seen
