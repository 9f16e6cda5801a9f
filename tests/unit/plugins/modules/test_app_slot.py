"""app_slot against a real supervisord: one slot on one host, and nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.part_app_slot import ARGUMENT_SPEC, run
from ansible_collections.baton.release.plugins.module_utils.runtime_supervisor import Supervisor

from tests.postgres import free_port

APP = """\
import http.server, json, os, signal, sys, threading, time
if os.environ.get("CRASH"):
    sys.exit(f"no way with {os.environ['SECRET']}")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            open("begun", "w").close()
            time.sleep(1)
        body = json.dumps({**os.environ, "cwd": os.getcwd()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
if os.environ.get("PATIENT"):
    server.daemon_threads = False
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
"""


class Host:
    """One host: its directories, its supervisord, and app_slot as a release calls it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "supervisord.conf"
        self.ports = {"blue": free_port(), "green": free_port()}

    def artifact(self, version: str) -> dict[str, str]:
        path = self.root / f"{version}.tar.gz"
        if not path.exists():
            with tarfile.open(path, "w:gz") as tar:
                info = tarfile.TarInfo("app.py")
                text = f"# {version}\n{APP}".encode()
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text))
        return {"artifact": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    def slot(
        self, state: str, slot: str = "blue", version: str = "v1", *, check_mode: bool = False, **more: Any
    ) -> dict[str, Any]:
        params = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
        params |= {"app_name": "shop", "app_root": str(self.root / "shop"), "state_dir": str(self.root / "state")}
        params |= {
            "supervisor_config": str(self.config),
            "slot": slot,
            "version": version,
            "state": state,
            "port": self.ports[slot],
        }
        params |= {
            "command": [sys.executable, "app.py"],
            "instance": "app 1",
            "start_timeout": 15,
            **self.artifact(version),
            **more,
        }
        return run(params, check_mode=check_mode)

    def serve(self, slot: str = "blue", version: str = "v1", **more: Any) -> int:
        """Have a version run; return its pid."""
        self.slot("present", slot, version, **more)
        result = self.slot("started", slot, version, **more)
        return int(result["slots"][slot]["pid"])

    def asked(self, slot: str = "blue", path: str = "/") -> dict[str, str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[slot]}{path}", timeout=5) as answer:
            body: dict[str, str] = json.load(answer)
        return body


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a supervisord that runs while the tests of this file do."""
    root = tmp_path_factory.mktemp("host")
    port = free_port()
    (root / "conf.d").mkdir()
    (root / "supervisord.conf").write_text(
        f"[supervisord]\nlogfile={root}/supervisord.log\npidfile={root}/supervisord.pid\nchildlogdir={root}\n"
        f"[inet_http_server]\nport=127.0.0.1:{port}\nusername=baton\npassword=s%%3Acret\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=http://127.0.0.1:{port}\nusername=baton\npassword=s%%3Acret\n"
        "[include]\nfiles=conf.d/*.conf\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(root / "supervisord.conf")],
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield root
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def host(supervised: Path) -> Iterator[Host]:
    """A host with nothing on it."""
    one = Host(supervised)
    yield one
    for slot in ("blue", "green"):
        one.slot("absent", slot)


def test_from_nothing_to_running_with_its_environment(host: Host) -> None:
    assert host.slot("gathered")["slots"]["blue"]["version"] == ""
    host.serve(environment={"NAME": "a 'b' \"c\" $d `e` %f"})
    seen = host.asked()
    assert (seen["BATON_INSTANCE"], seen["BATON_SLOT"], seen["BATON_VERSION"]) == ("app 1", "blue", "v1")
    assert seen["NAME"] == "a 'b' \"c\" $d `e` %f"
    assert seen["cwd"] == str(host.root / "shop" / "releases" / "v1")


def test_each_state_is_reached_once(host: Host) -> None:
    """The ladder: each step first in check mode, then for real, then again."""
    for state in ("present", "started", "verified", "stopped", "absent"):
        assert host.slot(state, check_mode=True)["changed"], state
        assert host.slot(state)["changed"], state
        assert not host.slot(state)["changed"], state
    assert not (host.root / "shop" / "slots" / "blue").exists()


def test_a_tree_alone_touches_no_slot(host: Host) -> None:
    host.serve()
    before = host.slot("gathered")
    first = host.slot("installed", version="v7", check_mode=True)
    assert (first["changed"], first["releases"]) == (True, before["releases"])
    second = host.slot("installed", version="v7")
    assert (second["changed"], second["slots"]) == (True, before["slots"])
    assert second["releases"][0]["version"] == "v7"
    assert not host.slot("installed", version="v7")["changed"]
    with pytest.raises(BatonError, match="one version is one artifact"):
        host.slot("installed", version="v7", sha256=host.artifact("v1")["sha256"])


def test_a_change_of_one_slot_leaves_the_other_alone(host: Host) -> None:
    blue = host.serve("blue", "v1")
    host.serve("green", "v2")
    host.serve("green", "v3")
    host.slot("stopped", "green")
    assert host.slot("gathered")["slots"]["blue"]["pid"] == blue


@pytest.mark.parametrize("what", ["version", "environment", "secrets", "command"])
def test_what_the_process_was_given_decides_whether_it_starts_anew(host: Host, what: str) -> None:
    before = host.serve()
    more: dict[str, Any] = {}
    if what == "environment":
        more = {"environment": {"NEW": "1"}}
    elif what == "command":
        more = {"command": [sys.executable, "-u", "app.py"]}
    elif what == "secrets":
        (host.root / "shop/slots/blue/secrets.env").write_text('SECRET="new"\n')
    after = host.serve(version="v2" if what == "version" else "v1", **more)
    assert before != after
    assert host.serve(version="v2" if what == "version" else "v1", **more) == after


def test_a_version_that_does_not_come_up_is_said_without_its_secrets(host: Host) -> None:
    host.slot("present", environment={"CRASH": "1"})
    (host.root / "shop/slots/blue/secrets.env").write_text('SECRET="c4n4ry"\n')
    host.slot("present", environment={"CRASH": "1"}, version="v2")
    with pytest.raises(BatonError, match="no way with") as refusal:
        host.slot("started", environment={"CRASH": "1"}, version="v2")
    assert "c4n4ry" not in str(refusal.value)


def test_a_port_that_is_taken_is_said(host: Host) -> None:
    host.slot("present")
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", host.ports["blue"]))
        squatter.listen()
        with pytest.raises(BatonError, match=f"port {host.ports['blue']} of slot blue"):
            host.slot("started")


def test_a_slot_that_was_not_prepared_is_not_started(host: Host) -> None:
    with pytest.raises(BatonError, match="holds nothing"):
        host.slot("started")
    host.slot("present", version="v1")
    with pytest.raises(BatonError, match="holds v1"):
        host.slot("started", version="v2")


def test_a_crashed_process_is_started_again(host: Host) -> None:
    pid = host.serve()
    Supervisor(host.config).stop("shop-blue")
    assert host.slot("gathered")["slots"]["blue"]["current"] is False
    assert host.serve() != pid


def test_a_request_in_flight_is_answered_before_its_process_ends(host: Host) -> None:
    pid = host.serve(environment={"PATIENT": "1"})
    begun = host.root / "shop" / "releases" / "v1" / "begun"
    begun.unlink(missing_ok=True)
    with ThreadPoolExecutor(1) as users:
        answer = users.submit(host.asked, path="/slow")
        deadline = time.monotonic() + 5
        while not begun.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert host.slot("stopped")["changed"]
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert answer.result()["BATON_VERSION"] == "v1"


def test_an_older_lease_changes_nothing(host: Host) -> None:
    pid = host.serve(token=1_000)
    for state in ("present", "started", "stopped", "absent", "verified"):
        with pytest.raises(BatonError, match="has seen lease 1000"):
            host.slot(state, version="v2", token=999)
    assert host.slot("gathered")["slots"]["blue"]["pid"] == pid


def test_a_host_that_is_fenced_refuses_an_older_lease(host: Host, tmp_path: Path) -> None:
    host.slot("fenced", token=2, state_dir=str(tmp_path))
    with pytest.raises(BatonError, match="has seen lease 2"):
        host.slot("stopped", token=1, state_dir=str(tmp_path))


def test_check_mode_on_a_host_with_nothing_writes_nothing(host: Host) -> None:
    before = sorted(host.root.rglob("*"))
    host.slot("present", version="v11", check_mode=True)
    assert [path for path in sorted(host.root.rglob("*")) if path not in before] == [host.root / "v11.tar.gz"]


def test_a_supervisord_that_is_not_there_is_said(tmp_path: Path) -> None:
    config = tmp_path / "supervisord.conf"
    with pytest.raises(BatonError, match="cannot be used"):
        Supervisor(config)
    config.write_text("[supervisorctl]\nserverurl=unix:///does/not/exist.sock\n[include]\nfiles=conf.d/*.conf\n")
    with pytest.raises(BatonError, match="does not answer"):
        Supervisor(config).state("shop-blue")


ASK = ["http://127.0.0.1:1/health/ready"]


def hot_pair(host: Host, keep_hot: str) -> Any:
    """Have v1 hot in blue for so long, and v2 proven in green; return what is noted of it."""
    host.serve("blue", "v1")
    host.serve("green", "v2")
    host.slot("verified", "green", "v2", keep_hot=keep_hot, ask=ASK, token=1)
    path = host.root / "state" / "retirement.json"
    return json.loads(path.read_text()) if path.exists() else None


@pytest.fixture
def no_lease(supervised: Path) -> Iterator[None]:
    """Forget the leases of the tests before, and of this one."""

    def forget() -> None:
        for name in ("fence.json", "retirement.json"):
            (supervised / "state" / name).unlink(missing_ok=True)

    forget()
    yield
    forget()


@pytest.mark.usefixtures("no_lease")
def test_the_slot_beside_is_hot_for_so_long_and_no_longer(host: Host) -> None:
    noted = hot_pair(host, "1h")
    assert (noted["slot"], noted["version"], noted["live_version"], noted["token"]) == ("blue", "v1", "v2", 1)
    assert not host.slot("verified", "green", "v2", keep_hot="1h", ask=ASK, token=1)["changed"]
    seen = host.slot("gathered")["slots"]
    assert (3000 < seen["blue"]["retires_in"] <= 3600, seen["blue"]["timer"]) == (True, False)
    assert seen["green"]["retires_in"] is None
    assert not host.slot("retired", "blue")["changed"]
    assert host.asked("blue")["BATON_VERSION"] == "v1"

    host.slot("verified", "green", "v2", token=1)
    assert host.slot("gathered")["slots"]["blue"]["retires_in"] is None
    hot_pair(host, "1s")
    time.sleep(1.1)
    # What is live is not what is to be retired.
    assert not host.slot("retired", "green")["changed"]
    assert host.slot("retired", "blue", check_mode=True)["changed"]
    assert host.asked("blue")["BATON_VERSION"] == "v1"
    retired = host.slot("retired", "blue")
    assert retired["changed"]
    assert (retired["slots"]["blue"]["state"], retired["slots"]["blue"]["version"]) == ("absent", "v1")
    assert not host.slot("retired", "blue")["changed"]
    assert host.asked("green")["BATON_VERSION"] == "v2"
    # A slot that does not run has nothing to be retired of.
    assert not host.slot("verified", "green", "v2", keep_hot="1h", ask=ASK)["changed"]


@pytest.mark.usefixtures("no_lease")
@pytest.mark.parametrize(("state", "token"), [("fenced", 2), ("hot", 2), ("hot", None), ("present", 2), ("started", 2)])
def test_whatever_comes_to_the_host_later_keeps_the_slot_hot(host: Host, state: str, token: int | None) -> None:
    assert hot_pair(host, "1s") is not None
    time.sleep(1.1)
    host.slot(state, "blue", "v1", token=token, check_mode=True)
    assert host.slot("gathered")["slots"]["blue"]["retires_in"] <= 0
    host.slot(state, "blue", "v1", token=token)
    assert host.slot("gathered")["slots"]["blue"]["retires_in"] is None
    assert not host.slot("retired", "blue")["changed"]
    assert host.asked("blue")["BATON_VERSION"] == "v1"


@pytest.mark.usefixtures("no_lease")
def test_an_older_lease_retires_nothing(host: Host) -> None:
    hot_pair(host, "1s")
    host.slot("gathered")
    (host.root / "state" / "fence.json").write_text(json.dumps({"token": 5}))
    with pytest.raises(BatonError, match="has seen lease 5"):
        host.slot("retired", "blue", token=1)
    assert host.asked("blue")["BATON_VERSION"] == "v1"


@pytest.mark.parametrize("keep_hot", ["3600", "1.5h", "for ever"])
def test_a_time_without_a_unit_is_refused(host: Host, keep_hot: str) -> None:
    with pytest.raises(BatonError, match="keep_hot"):
        host.slot("verified", keep_hot=keep_hot)
