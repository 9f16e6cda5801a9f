"""Thousands of hostile inputs: each is refused in words or done as asked, and none is run, breaks out or shows a traceback.

Every module runs whole, from its arguments in JSON to its result, with what a shell, Jinja, YAML or a path could mistake for something
else. Python's own audit events tell what was written and what was started, so a payload needs no luck to be noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baton.release.plugins.action.release_plan import make
from ansible_collections.baton.release.plugins.action.release_settings import ROLES, specs_of
from ansible_collections.baton.release.plugins.module_utils import app_slots, envfile
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.runtimes import RUNTIMES
from ansible_collections.baton.release.plugins.module_utils.settings import Inventory, problems_in, refuse
from ansible_collections.baton.release.plugins.module_utils.settings_run import Started, complaints_of_run
from ansible_collections.baton.release.plugins.module_utils.settings_types import Unresolved
from ansible_collections.baton.release.plugins.modules import (
    app_slot,
    db_migrate,
    health_wait,
    lb_switch,
    release_journal,
    release_lock,
    secret_fetch,
    traffic_watch,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.plugins.action.test_release_plan import arguments as plan_arguments

# How many inputs each test has to see; together they are the promise.
INPUTS = {
    "app_slot": 400,
    "db_migrate": 250,
    "health_wait": 150,
    "lb_switch": 150,
    "release_journal": 200,
    "release_lock": 200,
    "secret_fetch": 250,
    "traffic_watch": 150,
    "release_plan": 300,
    "release_settings": 500,
    "how the run was started": 100,
    "run script": 100,
}
CANARY = "canary"
PAYLOADS = [
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"; touch {CANARY} #",
    f"x\ntouch {CANARY}\n",
    f"'; touch {CANARY}; '",
    f'"; touch {CANARY}; "',
    f"| touch {CANARY}",
    f"& touch {CANARY} &",
    f"{{{{ lookup('pipe', 'touch {CANARY}') }}}}",
    f"{{% if lookup('pipe', 'touch {CANARY}') %}}{{% endif %}}",
    "{# x #}",
    "{{ undefined_name }}",
    "../x",
    "../../../x",
    "..",
    ".",
    "/",
    "a/b",
    "-rf",
    "--help",
    "-x",
    "",
    " ",
    "\0",
    "v1\0",
    "\n",
    "\r\n",
    "\t",
    "\x1b[31m",
    "é",
    "\u202e",
    "x" * 5000,
    "%(ENV_HOME)s",
    "%n%s%d",
    "${HOME}",
    "~",
    "~root",
    "*",
    "latest",
    "no",
    "010",
    "1.10",
    "12:30:45",
    "1e999",
    "nan",
    "[main]\nevil=1",
    "http://[",
    "http://127.0.0.1:1/ x",
    "file:///etc/passwd",
    "http://user:pw@127.0.0.1:1",
    "http://127.0.0.1:99999",
    "ftp://127.0.0.1",
]
TEXTS = st.sampled_from(PAYLOADS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.sampled_from([0, -1, 1, 2, 65_535, 65_536, 10**12, -(10**12), 10**30]) | st.integers(-10, 70_000)
FLOATS = st.sampled_from([0.0, -1.0, 1e-9, 1e308, math.nan, math.inf, -math.inf]) | st.floats(0, 2)
# A lone surrogate cannot reach a module: Ansible itself refuses arguments that are no UTF-8.
SCALARS = TEXTS | NUMBERS | FLOATS | st.booleans() | st.none()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
VERSIONS = st.sampled_from(["v1.0.0", "v1.1.0"]) | TEXTS
# Nothing that a test would have to wait for: a time that is not refused is short.
SECONDS = st.sampled_from([math.nan, math.inf, -math.inf, -1, 0, 0.01, 10**30, "x", "", None])
ADDRESSES = st.sampled_from(
    ["http://127.0.0.1:1", *(text for text in PAYLOADS if "127.0.0.1" in text or not text.isalnum())]
)
SEEN: Counter[str] = Counter()
DONE: Counter[str] = Counter()
MODULES = {path.stem for path in Path(app_slot.__file__).parent.glob("*.py")} - {"release_plan", "release_settings"}


class Watchman:
    """Notes what Python is about to write, remove or start, while it is on duty."""

    WRITES = ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.chown")
    MOVES = ("os.rename", "os.link", "os.symlink")
    STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn")

    def __init__(self) -> None:
        self.written: list[str] = []
        self.started: list[str] = []
        self.on_duty = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, details: tuple[Any, ...]) -> None:
        if not self.on_duty:
            return
        if event == "open" and isinstance(details[0], (str, bytes)):
            if details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.written.append(os.fsdecode(details[0]))
        elif event in self.WRITES and isinstance(details[0], (str, bytes, os.PathLike)):
            self.written.append(os.fsdecode(details[0]))
        elif event in self.MOVES:
            self.written += [os.fsdecode(one) for one in details[:2] if isinstance(one, (str, bytes, os.PathLike))]
        elif event in self.STARTS:
            self.started.append(f"{event} {details[:2]!r}")

    @contextlib.contextmanager
    def watching(self, root: Path, *, may_start: str = "") -> Iterator[None]:
        """Have nothing written outside of ``root``, nothing started but ``may_start``, and no canary anywhere."""
        self.written, self.started, self.on_duty = [], [], True
        try:
            yield
        finally:
            self.on_duty = False
        here = os.path.realpath(root)
        outside = [path for path in self.written if not os.path.realpath(path).startswith(here) and path != os.devnull]
        assert not outside, outside
        assert not [one for one in self.started if not (may_start and may_start in one)], self.started
        assert not list(root.rglob(CANARY))


WATCHMAN = Watchman()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory, deep enough that a few .. stay inside, in which everything happens."""
    root = tmp_path_factory.mktemp("inputs")
    deep = root / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "a-file").touch()
    before, tempdir = Path.cwd(), tempfile.tempdir
    os.chdir(deep)
    tempfile.tempdir = str(deep)
    yield deep
    os.chdir(before)
    tempfile.tempdir = tempdir
    assert not list(root.rglob(CANARY))


def hostile(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a test see its number of inputs, the same ones each time."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        return settings(
            max_examples=INPUTS[name],
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )(test)

    return decorate


def assert_seen(name: str) -> None:
    """Assert that a test has seen its inputs, and that not all of them were turned away at the door."""
    assert SEEN[name] >= INPUTS[name]
    assert DONE[name] or name not in MODULES


def paths(sandbox: Path, name: str) -> st.SearchStrategy[Any]:
    """Paths that stay in the sandbox, or are no paths."""
    inside = st.sampled_from(
        [
            f"{name}",
            f"{name} with blanks",
            f"{name}'quote",
            f"{name}$(touch {CANARY})",
            f"{name}/../{name}",
            f"{name}\n",
            f"{name}\0",
            "é%s",
            "a-file/x",
            "x" * 300,
            "é" * 200,
        ]
    )
    return st.one_of(
        inside.map(lambda last: f"{sandbox}/{last}"), st.sampled_from(["", "\0", "x\0y", "relative", "../up"])
    )


def call(name: str, module: Any, arguments: dict[str, Any], *, may_start: str = "") -> dict[str, Any]:
    """Run a module as Ansible does, whole and watched; return its result."""
    SEEN[name] += 1
    output = io.StringIO()
    ended = None
    given = {key: value for key, value in arguments.items() if value is not None}
    with (
        patch_module_args(json.loads(json.dumps(given))),
        contextlib.redirect_stdout(output),
        WATCHMAN.watching(Path.cwd().parents[3], may_start=may_start),
    ):
        try:
            module.main()
        except SystemExit as end:
            ended = end.code
    result: dict[str, Any] = json.loads(output.getvalue())
    assert ended is not None, "the module did not end as modules do"
    assert "exception" not in result, result
    assert "Traceback" not in output.getvalue()
    DONE[name] += not result.get("failed")
    if result.get("failed"):
        said = result["msg"]
        # Either in our words, or in those of Ansible's own check of arguments, which comes first.
        ours = all(word in said for word in ("Found: ", ". Expected: ", ". To do: "))
        assert ours or any(
            word in said
            for word in (
                "cannot be converted",
                "unable to convert",
                "missing",
                "must be one of",
                "is required",
                "mutually exclusive",
                "Unsupported",
                "Elements value",
                "could not be converted",
            )
        ), said
    return result


class Still:
    """A supervisord that knows no program and starts none."""

    hands_environment = False

    def __init__(self, config: str) -> None:
        self.config = config

    def unit(self, app_name: str, slot: str) -> str:
        return f"{app_name}-{slot}"

    def state(self, unit: str) -> dict[str, Any]:
        del unit
        return {"state": "absent", "pid": None, "detail": ""}

    def stop(self, unit: str) -> bool:
        return not unit

    def keep(self, unit: str, *, check_mode: bool) -> bool:
        return check_mode and not unit

    forget = keep

    def log_end(self, unit: str, *, log: Path) -> tuple[str, str]:
        return str(log), unit

    def start(self, unit: str, *, command: Path, directory: Path, log: Path, stop_seconds: int) -> None:
        del command, directory, log, stop_seconds
        (Path.cwd() / "programs").mkdir(exist_ok=True)
        (Path.cwd() / "programs" / f"{unit}.conf").write_text(unit)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "supervisor", lambda options: Still(options["supervisor_config"]))


def spoiled(good: dict[str, Any], bad: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Good arguments of which up to three are hostile, so that each gets as deep as it can; None stands for no argument."""

    def spoil(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries(
            {**{name: st.just(value) for name, value in good.items()}, **{name: bad[name] for name in names}}
        )

    return st.lists(st.sampled_from(sorted(bad)), max_size=3, unique=True).flatmap(spoil)


@pytest.mark.usefixtures("still")
def test_app_slot(sandbox: Path) -> None:
    artifact = sandbox / "artifact.tar.gz"
    with tarfile.open(artifact, "w:gz") as tar:
        tar.add(__file__, arcname="app.py")
    good = {
        "state": "present",
        "app_name": "shop",
        "app_root": f"{sandbox}/root",
        "state_dir": f"{sandbox}/state",
        "slot": "blue",
        "version": "v1.0.0",
        "artifact": str(artifact),
        "sha256": hashlib.sha256(artifact.read_bytes()).hexdigest(),
        "port": 1,
        "command": ["true"],
        "start_timeout": 0.01,
        "supervisor_config": f"{sandbox}/config",
    }
    bad = {
        "state": st.sampled_from(["started", "stopped", "absent", "verified", "gathered", "x"]),
        "app_name": TEXTS,
        "app_root": paths(sandbox, "other-root"),
        "state_dir": paths(sandbox, "other-state"),
        "slot": st.sampled_from(["green", "../x"]),
        "version": TEXTS | st.just("v1.1.0"),
        "artifact": ADDRESSES | paths(sandbox, "artifact"),
        "sha256": TEXTS,
        "artifact_timeout": SECONDS,
        "port": NUMBERS,
        "instance": TEXTS,
        "command": st.lists(TEXTS, max_size=3),
        "environment": st.dictionaries(st.just("NAME") | TEXTS, ANYTHING, max_size=2),
        "start_timeout": SECONDS,
        "stop_timeout": NUMBERS,
        "keep_releases": NUMBERS,
        "token": NUMBERS,
        "supervisor_config": paths(sandbox, "other-config"),
        "_ansible_check_mode": st.just(True),
    }

    @hostile("app_slot")
    @given(spoiled(good, bad))
    def run(arguments: dict[str, Any]) -> None:
        call("app_slot", app_slot, {**arguments, "start_timeout": arguments["start_timeout"] or 0.01})

    run()
    assert_seen("app_slot")


def test_the_run_script_runs_what_it_was_given_and_nothing_else(sandbox: Path) -> None:
    """What reaches a shell for real: the env file and the start script, run by /bin/sh."""
    fitting = TEXTS.filter(lambda text: "\0" not in text and not any("\ud800" <= one <= "\udfff" for one in text))

    @hostile("run script")
    @given(
        st.lists(fitting, min_size=1, max_size=3),
        st.dictionaries(st.sampled_from(["A", "B_1", "HOME"]), fitting, max_size=3),
    )
    def run(words: list[str], environment: dict[str, str]) -> None:
        import subprocess  # noqa: PLC0415 - the only test that may start something

        SEEN["run script"] += 1
        show = [sys.executable, "-c", "import json,os,sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"]
        spec = app_slots.Spec("shop", sandbox / "sh", "blue", 1, "one", "v1", (*show, *words), environment)
        slot = app_slots.Slot(spec, Still(""))
        slot.releases.path("v1").mkdir(parents=True, exist_ok=True)
        slot.prepare(check_mode=False)
        done = subprocess.run(
            ["/bin/sh", str(slot.directory / "run")], capture_output=True, text=True, check=True, env={}
        )
        argv, seen = json.loads(done.stdout)
        assert argv == words
        own = {"PORT": "1", "BATON_INSTANCE": "one", "BATON_SLOT": "blue", "BATON_VERSION": "v1"}
        assert {name: seen[name] for name in {**environment, **own}} == {**environment, **own}
        assert not (sandbox / CANARY).exists()

    run()
    assert_seen("run script")


def test_secret_fetch(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", f"s3cret $(touch {CANARY})")
    store = sandbox / "secrets.json"
    store.write_text(json.dumps({"key": f"`touch {CANARY}`", "number": 5}))
    store.chmod(0o600)
    good = {"store": "env", "secrets": {"NAME": "A_SECRET"}, "dest": f"{sandbox}/dest.env", "path": str(store)}
    bad = {
        "store": st.sampled_from(["file", "vault"]),
        "secrets": st.dictionaries(
            st.sampled_from(["NAME", "OTHER"]) | TEXTS,
            st.sampled_from(["A_SECRET", "key", "number"]) | ANYTHING,
            max_size=2,
        ),
        "dest": paths(sandbox, "other-dest"),
        "path": paths(sandbox, "other-store"),
        "state_dir": paths(sandbox, "state-secrets"),
        "token": NUMBERS,
        "values": st.dictionaries(st.just("NAME") | TEXTS, SCALARS, max_size=2),
        "_ansible_check_mode": st.just(True),
    }

    @hostile("secret_fetch")
    @given(spoiled(good, bad))
    def run(arguments: dict[str, Any]) -> None:
        result = call("secret_fetch", secret_fetch, arguments)
        assert "s3cret" not in json.dumps(result)

    run()
    assert_seen("secret_fetch")


def test_release_lock(sandbox: Path) -> None:
    fresh = iter(range(10**6))
    bad = {
        "state": st.sampled_from(["renewed", "released", "gathered"]),
        "state_dir": paths(sandbox, "lock"),
        "token": NUMBERS,
        "expected_token": NUMBERS,
        "takeover_token": NUMBERS,
        "newest_seen": NUMBERS,
        "owner": TEXTS,
        "reason": TEXTS,
        "ttl": NUMBERS,
        "wait": NUMBERS,
        "controller": st.dictionaries(TEXTS, ANYTHING, max_size=2),
        "_ansible_check_mode": st.just(True),
    }

    @hostile("release_lock")
    @given(spoiled({"state_dir": None}, bad))
    def run(arguments: dict[str, Any]) -> None:
        # Without a bad one, a directory of its own: nobody holds that lock, so nobody waits for it.
        directory = arguments["state_dir"] or f"{sandbox}/lock{next(fresh)}"
        if arguments["state_dir"]:
            arguments = {**arguments, "wait": 0}
        call("release_lock", release_lock, {**arguments, "state_dir": directory})

    run()
    assert_seen("release_lock")


def test_release_journal(sandbox: Path) -> None:
    good = {
        "state": "present",
        "state_dir": f"{sandbox}/journal",
        "token": 1,
        "event": "started",
        "record": {"action": "release", "version": "v1.0.0"},
    }
    fields = st.sampled_from(["version", "from_version", "detail", "reason", "outcome", "contract"])
    bad = {
        "state": st.just("gathered"),
        "state_dir": paths(sandbox, "other-journal"),
        "token": NUMBERS,
        "event": st.just("finished") | TEXTS,
        "record": st.dictionaries(fields | TEXTS, ANYTHING, max_size=3),
        "limit": NUMBERS,
        "_ansible_check_mode": st.just(True),
    }

    @hostile("release_journal")
    @given(spoiled(good, bad))
    def run(arguments: dict[str, Any]) -> None:
        call("release_journal", release_journal, arguments)

    run()
    assert_seen("release_journal")


def test_lb_switch(sandbox: Path) -> None:
    good = {
        "state": "live",
        "state_dir": f"{sandbox}/lb",
        "app_name": "shop",
        "slot": "blue",
        "admin": "http://127.0.0.1:1",
        "preview": {"blue": "http://127.0.0.1:1", "green": "http://127.0.0.1:1"},
        "min_up": 0,
        "wait": 0,
    }
    bad = {
        "state": st.sampled_from(["fenced", "gathered", "prepared", "open", "held", "maintenance", "servers", "x"]),
        "state_dir": paths(sandbox, "other-lb"),
        "app_name": TEXTS,
        "token": NUMBERS,
        "slot": st.sampled_from(["green", "mixed", "../x"]),
        "expected": st.sampled_from(["blue", "none", "x"]),
        "admin": ADDRESSES,
        "preview": st.fixed_dictionaries({"blue": ADDRESSES, "green": ADDRESSES})
        | st.dictionaries(TEXTS, ANYTHING, max_size=2),
        "seats": st.dictionaries(st.just("app1") | TEXTS, st.sampled_from(["blue", "out"]) | ANYTHING, max_size=2),
        "hold_limit": NUMBERS,
        "retry_after": NUMBERS,
        "server_states": st.dictionaries(st.just("app1") | TEXTS, st.just("drain") | ANYTHING, max_size=2),
        "servers": st.lists(st.just("app1") | TEXTS, max_size=2)
        | st.dictionaries(st.just("app1") | TEXTS, ANYTHING, max_size=2),
        "driver": st.sampled_from(["aws_alb", "x"]),
        "target_groups": st.dictionaries(st.sampled_from(["blue", "green"]) | TEXTS, ANYTHING, max_size=2),
        "health_path": TEXTS,
        "min_up": NUMBERS,
        "wait": SECONDS,
        "drain": SECONDS,
        "_ansible_check_mode": st.just(True),
    }

    @hostile("lb_switch")
    @given(spoiled(good, bad))
    def run(arguments: dict[str, Any]) -> None:
        short = {name: 0 if arguments.get(name) is None else arguments[name] for name in ("wait", "drain")}
        call("lb_switch", lb_switch, {**arguments, **short})

    run()
    assert_seen("lb_switch")


@pytest.mark.usefixtures("sandbox")
def test_health_wait() -> None:
    good = {
        "endpoints": [{"name": "app1", "tcp": "127.0.0.1:1"}],
        "deadline": 0.02,
        "interval": 0.01,
        "probe_timeout": 0.01,
        "fail_on_unhealthy": False,
    }
    endpoint = st.fixed_dictionaries(
        {"name": TEXTS},
        optional={
            "url": ADDRESSES,
            "tcp": st.just("127.0.0.1:1") | ADDRESSES,
            "headers": st.dictionaries(TEXTS, ANYTHING, max_size=1),
        },
    )
    expect = {"status": NUMBERS, "version": TEXTS, "version_key": TEXTS}
    bad = {
        "endpoints": st.lists(endpoint, max_size=2),
        "expect": st.fixed_dictionaries({}, optional=expect),
        "consecutive": NUMBERS,
        "min_healthy_seconds": SECONDS,
        "deadline": SECONDS,
        "interval": SECONDS,
        "probe_timeout": SECONDS,
        "max_body": NUMBERS,
        "fail_on_unhealthy": st.just(True),
        "_ansible_check_mode": st.just(True),
    }

    @hostile("health_wait")
    @given(spoiled(good, bad))
    def run(arguments: dict[str, Any]) -> None:
        # Left out, an option has its default, for which nobody wants to wait here.
        short = {name: 0.02 if arguments[name] is None else arguments[name] for name in ("deadline", "probe_timeout")}
        call("health_wait", health_wait, {**arguments, **short})

    run()
    assert_seen("health_wait")


def test_traffic_watch(sandbox: Path) -> None:
    log = sandbox / "access.log"
    log.write_text("{}\n")
    good = {"access_log": str(log), "slot": "blue", "seconds": 0.01, "probe_timeout": 0.01}
    counts = dict.fromkeys(("requests", "errors", "client_aborts", "cut_off", "max_ms", "seconds"), NUMBERS | SCALARS)
    dicts = {
        name: st.dictionaries(st.just("5") | TEXTS, NUMBERS | SCALARS, max_size=2)
        for name in ("by_status", "histogram")
    }
    bad = {
        "access_log": paths(sandbox, "log"),
        "slot": st.sampled_from(["green", "x"]),
        "seconds": SECONDS,
        "cursor": st.fixed_dictionaries({"inode": SCALARS, "offset": SCALARS, "head": SCALARS})
        | st.fixed_dictionaries({"inode": st.just(log.stat().st_ino), "offset": NUMBERS, "head": NUMBERS})
        | st.dictionaries(TEXTS, ANYTHING, max_size=2),
        "totals": st.fixed_dictionaries({**counts, **dicts}) | st.dictionaries(TEXTS, ANYTHING, max_size=2),
        "match": st.dictionaries(TEXTS, ANYTHING, max_size=2),
        "url": ADDRESSES,
        "probe_paths": st.lists(TEXTS, max_size=2),
        "probe_host": TEXTS,
        "probe_rate": st.sampled_from([0, 1, 51, -1, math.nan, math.inf]),
        "probe_timeout": SECONDS,
        "max_error_rate": FLOATS,
        "max_p95_ms": FLOATS,
        "min_requests": NUMBERS,
        "fail_on_breach": st.just(False),
        "_ansible_check_mode": st.just(True),
    }

    @hostile("traffic_watch")
    @given(spoiled(good, bad))
    def run(arguments: dict[str, Any]) -> None:
        seconds = 0.01 if arguments["seconds"] is None else arguments["seconds"]
        call("traffic_watch", traffic_watch, {**arguments, "seconds": seconds})

    run()
    assert_seen("traffic_watch")


def test_db_migrate(sandbox: Path) -> None:
    project = sandbox / "project"
    project.mkdir()
    (project / "alembic.ini").write_text("[alembic]\n")
    (project / "manage.py").write_text("")
    (project / "knexfile.js").write_text("")
    # Stands for the app's own tool, which is all that may be started: it says that the database is where it should be.
    answer = {
        "current": [["1"]],
        "heads": ["1"],
        "revisions": [{"revision": "1", "parents": []}],
        "done": ["1"],
        "conflict": [],
    }
    python = sandbox / "python"
    python.write_text(f"#!/bin/sh\nprintf '%s%s\\n' \"$2\" '{json.dumps(answer)}'\nprintf '[X] 1\\n'\n")
    python.chmod(0o755)
    good = {
        "state": "gathered",
        "state_dir": f"{sandbox}/migrate",
        "project_dir": str(project),
        "python": str(python),
        "environment": {"DATABASE_URL": "postgresql://127.0.0.1:1/x"},
        "timeout": 5,
    }
    own = {"driver": "command", "python": None, "commands": {"status": [str(python)], "up": [str(python)]}}
    bad = {
        "state": st.sampled_from(["upgraded", "downgraded"]),
        "state_dir": paths(sandbox, "other-migrate"),
        "project_dir": paths(sandbox, "tree"),
        "python": paths(sandbox, "interpreter").filter(bool),  # without one it is the Python that runs the module
        "revision": TEXTS,
        "user": TEXTS,
        "environment": st.fixed_dictionaries({"DATABASE_URL": TEXTS})
        | st.dictionaries(st.sampled_from(["PGOPTIONS", "PATH", "LD_PRELOAD"]) | TEXTS, ANYTHING, max_size=2),
        "env_files": st.lists(paths(sandbox, "env"), max_size=2),
        "database_url_variable": TEXTS,
        "lock_timeout": SECONDS,
        "ddl_lock_timeout": TEXTS,
        "statement_timeout": TEXTS,
        "timeout": st.sampled_from([math.nan, math.inf, -1, 0, 10**30, "x"]),
        "django_manage": TEXTS,
        "knex_file": TEXTS,
        "knex_node": paths(sandbox, "node"),
        "dbmate_directory": TEXTS,
        "token": NUMBERS,
        "_ansible_check_mode": st.just(True),
    }
    words = st.dictionaries(
        st.sampled_from(["status", "up", "up_to", "down", "version", "x"]), st.lists(TEXTS, max_size=2), max_size=2
    )

    @hostile("db_migrate")
    @given(spoiled(good, bad) | spoiled({**good, **own}, {**bad, "commands": words}))
    def run(arguments: dict[str, Any]) -> None:
        call("db_migrate", db_migrate, arguments, may_start=str(python))

    run()
    assert_seen("db_migrate")


def test_release_plan(sandbox: Path) -> None:
    @hostile("release_plan")
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "action": st.sampled_from(["release", "rollback"]),
                "version": VERSIONS,
                "sha256": TEXTS,
                "app_name": TEXTS,
                "migrator": TEXTS,
                "state_host": TEXTS,
                "play_hosts": st.lists(st.sampled_from(["lb1", "app1"]) | TEXTS, max_size=3),
                "manifest_dir": paths(sandbox, "manifests"),
                "strategy": st.sampled_from(["blue_green", "rolling"]),
                "max_surge": TEXTS | NUMBERS.map(str),
                "max_unavailable": TEXTS | NUMBERS.map(str),
            },
        )
    )
    def run(changes: dict[str, Any]) -> None:
        SEEN["release_plan"] += 1
        arguments = {"max_surge": "1", "max_unavailable": "0", "strategy": "blue_green", **plan_arguments(), **changes}
        with WATCHMAN.watching(Path.cwd()), contextlib.suppress(BatonError):
            plan = make(arguments)
            assert plan.version == arguments["version"]
            assert plan.version not in PAYLOADS

    run()
    assert_seen("release_plan")


SPECS, _OTHERS = specs_of(
    ROLES, ["app", "release", "traffic", "database", "secrets", "rolling", "verify", "watch", "revert", "plan"]
)
UNLIKE_JSON = (
    ANYTHING
    | st.builds(Unresolved, TEXTS.map(lambda text: text[:160]))
    | st.dictionaries(st.booleans() | st.integers(0, 9) | TEXTS, SCALARS, max_size=2)
)


@pytest.mark.usefixtures("sandbox")
def test_release_settings() -> None:
    host = st.dictionaries(st.sampled_from(sorted(SPECS)), UNLIKE_JSON, max_size=8)
    slots = st.fixed_dictionaries(
        {slot: st.fixed_dictionaries({"port": NUMBERS | SCALARS}) for slot in ("blue", "green")}
    )
    preview = st.fixed_dictionaries(dict.fromkeys(("blue", "green"), ADDRESSES))
    names = st.sampled_from(["app1", "app2", "lb1", "stranger"]) | TEXTS

    @hostile("release_settings")
    @given(
        st.dictionaries(names, host, max_size=3),
        st.dictionaries(st.sampled_from(["app", "lb", "migrator"]), st.lists(names, max_size=3), max_size=3),
        st.dictionaries(st.just("app1"), slots | preview, max_size=1),
        st.lists(TEXTS | st.sampled_from(["app_nam", "relase_version", "app_port"]), max_size=3),
    )
    def run(values: dict[str, Any], groups: dict[str, list[str]], shaped: dict[str, Any], variables: list[str]) -> None:
        SEEN["release_settings"] += 1
        for name, one in shaped.items():
            values.setdefault(name, {}).update({"app_slots": one, "traffic_preview": one})
        problems = problems_in(Inventory(groups, values, names=dict.fromkeys(values, variables)), SPECS)
        try:
            with WATCHMAN.watching(Path.cwd()):
                refuse(problems, list(values))
        except BatonError as refusal:
            lines = str(refusal).splitlines()[1:]
            assert len(lines) == len(problems) > 0
            assert all(len(line) < 2000 for line in lines)

    run()
    assert_seen("release_settings")


def test_how_the_run_was_started() -> None:
    words = st.lists(TEXTS, max_size=2)

    @hostile("how the run was started")
    @given(
        st.builds(
            Started,
            action=st.sampled_from(["release", "rollback"]),
            tags=st.just(["all"]) | words,
            skip_tags=words,
            start_at=TEXTS,
            step=st.booleans(),
            left_out=words,
            extra=st.dictionaries(st.sampled_from(["release_version", "plan_made"]) | TEXTS, UNLIKE_JSON, max_size=3),
        )
    )
    def run(started: Started) -> None:
        SEEN["how the run was started"] += 1
        found = complaints_of_run(started, settings=SPECS, own=("plan_",))
        whole = started.tags == ["all"] and not (
            started.skip_tags or started.start_at or started.step or started.left_out
        )
        assert whole or found

    run()
    assert_seen("how the run was started")


def test_there_are_enough_inputs() -> None:
    """Each test above asserts that it has seen its number; this is their sum, and that no module is left out."""
    assert sum(INPUTS.values()) >= 2_000
    assert {*MODULES, "release_plan", "release_settings"} <= set(INPUTS)


def test_the_watchman_sees(sandbox: Path) -> None:
    """A payload that ran, or a file elsewhere, would be noticed."""
    with pytest.raises(AssertionError), WATCHMAN.watching(sandbox):
        os.system("true")  # noqa: S605 - what a payload would do
    with pytest.raises(AssertionError), WATCHMAN.watching(sandbox):
        envfile.deliver({}, str(sandbox.parent / "beside.env"), check_mode=False)
    with pytest.raises(AssertionError), WATCHMAN.watching(sandbox):
        (sandbox / CANARY).touch()
    (sandbox / CANARY).unlink()
