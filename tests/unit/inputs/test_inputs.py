"""Thousands of hostile inputs: each is refused in words or done as asked, and none is run, breaks out or shows a traceback.

Here those of the modules, with what a shell, Jinja, YAML or a path could mistake for something else.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils import app_slots, envfile
from ansible_collections.baton.release.plugins.module_utils.launch import Launch, run_script
from ansible_collections.baton.release.plugins.module_utils.runtimes import RUNTIMES
from ansible_collections.baton.release.plugins.modules import (
    app_slot,
    db_migrate,
    health_wait,
    host_parts,
    lb_adopt_info,
    lb_switch,
    release_journal,
    release_lock,
    secret_fetch,
    traffic_watch,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.inputs.hostile import (
    ADDRESSES,
    ANYTHING,
    CANARY,
    FLOATS,
    INPUTS,
    MODULES,
    NUMBERS,
    SCALARS,
    SECONDS,
    SEEN,
    SINGLETONS,
    TEXTS,
    WATCHMAN,
    assert_seen,
    call,
    hostile,
    paths,
    spoiled,
)


class Still:
    """A supervisord that knows no program and starts none."""

    program = "run"
    read_by_others = False

    def __init__(self, config: str) -> None:
        self.config = config

    def unit(self, app_name: str, slot: str) -> str:
        return f"{app_name}-{slot}"

    def singleton(self, app_name: str, slot: str, name: str) -> str:
        return f"{app_name}-{slot}-{name}"

    def refuse_unfit(self, unit: str, command: Path, *, beside: Path) -> None:
        del unit, command, beside

    def state(self, unit: str) -> dict[str, Any]:
        del unit
        return {"state": "absent", "pid": None, "detail": ""}

    def stop(self, unit: str) -> bool:
        return not unit

    def keep(self, unit: str, *, check_mode: bool) -> bool:
        return check_mode and not unit

    discard = forget = keep

    def describe(self, launch: Launch, *, check_mode: bool) -> str:
        del check_mode
        return run_script(launch, sources=True)

    def commands_to_retire(self, unit: str, timer: str) -> tuple[list[str], list[str]]:
        del unit, timer
        return [], []

    def schedule(self, timer: str, command: Sequence[str], seconds: int) -> None:
        del timer, command, seconds

    def unschedule(self, timer: str) -> None:
        del timer

    def log_end(self, unit: str, *, log: Path) -> tuple[str, str]:
        return str(log), unit

    def start(self, unit: str, *, command: Path, directory: Path, log: Path, stop_seconds: int) -> None:
        del command, directory, log, stop_seconds
        (Path.cwd() / "programs").mkdir(exist_ok=True)
        (Path.cwd() / "programs" / f"{unit}.conf").write_text(unit)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "supervisor", lambda options: Still(options["supervisor_config"]))


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
        "state": st.sampled_from(
            ["started", "stopped", "absent", "verified", "gathered", "singletons_started", "singletons_stopped", "x"]
        ),
        "singletons": SINGLETONS,
        "singletons_stay": SECONDS,
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
        "docker_image": TEXTS,
        "docker_compose": TEXTS,
        "docker_archive": TEXTS,
        "docker_address": ADDRESSES,
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


def test_host_parts(sandbox: Path) -> None:
    journal = {
        "state": "present",
        "state_dir": f"{sandbox}/parts",
        "token": 1,
        "event": "started",
        "record": {"version": "v1"},
    }
    lock = {"state": "gathered", "state_dir": f"{sandbox}/parts"}
    names = st.sampled_from(["state", "state_dir", "token", "event", "record", "limit"]) | TEXTS
    options = st.dictionaries(names, ANYTHING, max_size=3)
    bad = {
        "release_journal": options | options.map(lambda more: {**journal, **more}) | TEXTS,
        "release_lock": options.map(lambda more: {**lock, **more}),
        "app_slot": options,
        "lb_switch": options,
        "health_wait": options,
        "_ansible_check_mode": st.just(True),
    }

    @hostile("host_parts")
    @given(spoiled({"release_journal": journal, "release_lock": lock}, bad))
    def run(arguments: dict[str, Any]) -> None:
        said = call("host_parts", host_parts, arguments)
        if not said.get("failed"):
            parts = {name: one for name, one in said.items() if name in arguments}
            assert all("exception" not in one and ("changed" in one or one["failed"]) for one in parts.values()), said

    run()
    assert_seen("host_parts")


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
        "reasons": st.dictionaries(st.just("app1") | TEXTS, ANYTHING, max_size=2),
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


def test_lb_adopt_info(sandbox: Path) -> None:
    (sandbox / "haproxy.cfg").write_text("global\n    daemon\nfrontend web\n    bind 127.0.0.1:1\n")
    (sandbox / "nginx.conf").write_text("events {}\nhttp { server { listen 127.0.0.1:1; } }\n")
    addresses = {"public": "127.0.0.1:1", "blue": "127.0.0.1:2", "green": "127.0.0.1:3", "admin": "127.0.0.1:4"}
    good = {
        "driver": "haproxy",
        "app_name": "shop",
        "state_dir": f"{sandbox}/state",
        "admin": f"{sandbox}/no.sock",
        "url": "http://127.0.0.1:1",
        "listen": addresses,
        "configuration": "frontend shop\n    bind 127.0.0.1:1\n    default_backend shop_blue\n",
        "config_path": f"{sandbox}/haproxy.cfg",
        "main_config": f"{sandbox}/nginx.conf",
        "command": f"{sandbox}/no-program",
    }
    config = st.sampled_from(["server {", "}", "frontend shop\n  bind", "include *;", "\0", '"', "#", "backend\n" * 40])
    bad = {
        "driver": st.sampled_from(["nginx", "x"]),
        "app_name": TEXTS,
        "state_dir": paths(sandbox, "state"),
        "admin": ADDRESSES,
        "url": ADDRESSES,
        "health_path": TEXTS,
        "listen": st.fixed_dictionaries(dict.fromkeys(addresses, TEXTS | ADDRESSES))
        | st.dictionaries(TEXTS, ANYTHING, max_size=2),
        "configuration": TEXTS | config,
        "config_path": paths(sandbox, "haproxy.cfg"),
        "main_config": paths(sandbox, "nginx.conf"),
        "files": st.dictionaries(paths(sandbox, "file"), TEXTS | ANYTHING, max_size=2),
        "access_log": TEXTS | paths(sandbox, "access.log"),
        "entry": TEXTS | config,
        "command": paths(sandbox, "haproxy"),
        "_ansible_check_mode": st.just(True),
    }

    @hostile("lb_adopt_info")
    @given(spoiled(good, bad))
    def run(arguments: dict[str, Any]) -> None:
        call("lb_adopt_info", lb_adopt_info, arguments, may_start=str(sandbox))

    run()
    assert_seen("lb_adopt_info")


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


def _urls(sandbox: Path) -> st.SearchStrategy[str]:
    """URLs of all kinds of databases, with hostile parts; nothing listens on port 1."""
    servers = st.sampled_from(["mysql", "mysql+pymysql", "mariadb", "MYSQL", "postgresql", "oracle"])
    server = st.builds(lambda scheme, what: f"{scheme}://u:{what}@127.0.0.1:1/{what}?{what}", servers, TEXTS)
    file = st.builds(
        lambda beginning, what: f"{beginning}{what}",
        st.sampled_from(["sqlite:", "sqlite://", f"sqlite:///{sandbox}/", f"sqlite+x:///{sandbox}/../"]),
        TEXTS.filter(lambda text: not text.startswith("/")),  # a lock would be made there
    )
    return server | file


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
        "environment": st.fixed_dictionaries({"DATABASE_URL": TEXTS | _urls(sandbox)})
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
        "liquibase_changelog": TEXTS,
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
