"""One app host of a fleet: app_slot as a release calls it, and an app that can misbehave."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import ansible
import yaml
from ansible_collections.baton.release.plugins.module_utils.part_app_slot import ARGUMENT_SPEC

from tests.fleet.hosts import Fleet

ROOT = Path(__file__).resolve().parents[2]
TRACES = ["find", "/etc", "/srv", "/var/lib", "-xdev", "-newer", "/root/before", "-printf", "%p\n"]
PORTS = {"blue": 8001, "green": 8002}
OPENS_SECONDS = 15.0
CODE = "/opt/baton"
APP = """\
import http.server, json, os, pathlib, signal, socket, subprocess, sys, time
mood = os.environ.get("MOOD", "")
if mood == "crash":
    sys.exit(f"no way with {os.environ.get('SECRET')}")
if mood == "leave":
    print("nothing to do")
    sys.exit(0)
def end(*_):
    if mood == "stubborn":
        print("not yet", flush=True)
        return
    if mood == "slow":
        time.sleep(1.5)
        print("ended in good order", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
if mood == "parent":
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", child])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/try/"):
            _, _, how, path = self.path.split("/", 3)
            try:
                if how == "read":
                    seen = pathlib.Path("/" + path).read_text()
                else:
                    seen = str(pathlib.Path("/" + path).write_text("x"))
            except OSError as error:
                seen = error.strerror
        else:
            status = pathlib.Path("/proc/self/status").read_text()
            seen = {"env": dict(os.environ), "cwd": os.getcwd(), "uid": os.getuid(), "pid": os.getpid(), "status": status}
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Version", os.environ.get("BATON_VERSION", ""))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
Server(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"""
CALL = """\
import json, sys
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.part_app_slot import run
params, check_mode = json.load(sys.stdin)
try:
    print(json.dumps(run(params, check_mode=check_mode)))
except BatonError as error:
    print(json.dumps({"failed": True, **error.as_result()}))
"""


class RefusedError(Exception):
    """app_slot refused, in its own words."""


class Host:
    """One host."""

    def __init__(self, fleet: Fleet, name: str, directory: Path) -> None:
        self.fleet = fleet
        self.name = name
        self.container = fleet.container(name)
        self.directory = directory

    def sh(self, *command: str, given: str = "", user: str = "root", check: bool = True) -> str:
        """Run a command on the host and return what it printed."""
        done = subprocess.run(
            ["docker", "exec", "-i", "-u", user, self.container, *command],
            capture_output=True,
            check=False,
            input=given,
            text=True,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def python(self, code: str, given: str = "", *, user: str = "root") -> str:
        """Run Python on the host, with the collection in its path."""
        return self.sh("env", f"PYTHONPATH={CODE}", "python3", "-B", "-c", code, given=given, user=user)

    def begin(self) -> None:
        """Remember this moment, for ``traces``."""
        self.sh("touch", "/root/before")

    def traces(self) -> list[str]:
        """Return the files and directories that were changed since ``begin``."""
        # sudo notes that it was used.
        return [line for line in self.sh(*TRACES).splitlines() if "sudo" not in line]

    def prepare(self) -> None:
        """Put there what app_slot needs, once."""
        bundle = io.BytesIO()
        with tarfile.open(fileobj=bundle, mode="w") as tar:
            # Empty, as Ansible itself sends it along with a module.
            tar.addfile(tarfile.TarInfo("ansible/__init__.py"))
            tar.add(Path(ansible.__file__).parent / "module_utils", "ansible/module_utils", filter=_source)
            for part in ("modules", "module_utils"):
                tar.add(ROOT / "plugins" / part, f"ansible_collections/baton/release/plugins/{part}", filter=_source)
        self.sh("mkdir", "-p", CODE)
        unpack = ["docker", "exec", "-i", self.container, "tar", "-x", "-C", CODE]
        subprocess.run(unpack, input=bundle.getvalue(), check=True)

    def artifact(self, version: str) -> dict[str, str]:
        """Have the artifact of a version on the host."""
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w:gz") as tar:
            info = tarfile.TarInfo("app.py")
            text = f"# {version}\n{APP}".encode()
            info.size, info.mode = len(text), 0o644
            tar.addfile(info, io.BytesIO(text))
        # gzip notes the time, so the first one made is the one.
        path = self.directory / f"{version}.tar.gz"
        if not path.exists():
            path.write_bytes(data.getvalue())
            subprocess.run(["docker", "cp", "-q", str(path), f"{self.container}:/root/{version}.tar.gz"], check=True)
        return {"artifact": f"/root/{version}.tar.gz", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    def slot(
        self, state: str, slot: str = "blue", version: str = "v1", *, check_mode: bool = False, **more: Any
    ) -> dict[str, Any]:
        """Run app_slot on the host; raises RefusedError with its message."""
        params = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
        params |= {
            "app_name": "shop",
            "app_root": "/srv/shop",
            "state_dir": "/var/lib/baton/shop",
            "runtime": "systemd",
        }
        params |= {"slot": slot, "version": version, "state": state, "port": PORTS[slot], "instance": "app 1"}
        params |= {"command": ["/usr/bin/python3", "app.py"], "start_timeout": 15, **self.artifact(version), **more}
        result: dict[str, Any] = json.loads(self.python(CALL, json.dumps([params, check_mode])))
        if result.get("failed"):
            raise RefusedError(result["msg"])
        return result

    def serve(self, slot: str = "blue", version: str = "v1", **more: Any) -> int:
        """Have a slot started, and return its pid."""
        self.slot("present", slot, version, **more)
        pid = self.slot("started", slot, version, **more)["slots"][slot]["pid"]
        assert isinstance(pid, int)
        return pid

    def seen(self, slot: str = "blue") -> dict[str, Any]:
        """Return what app_slot says of a slot."""
        found: dict[str, Any] = self.slot("gathered")["slots"][slot]
        return found

    def asked(self, slot: str = "blue", path: str = "/") -> Any:
        """Ask the app."""
        return json.loads(self.sh("curl", "-sS", "--max-time", "5", f"http://127.0.0.1:{PORTS[slot]}{path}"))

    def answers(self, slot: str) -> bool:
        """Say whether the app of a slot answers; one whose unit is active gets the time to open its port."""
        deadline = time.monotonic() + OPENS_SECONDS
        while not (said := self.sh("curl", "-s", "--max-time", "5", f"http://127.0.0.1:{PORTS[slot]}/", check=False)):
            if self.show("ActiveState", slot) == "inactive" or time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return bool(said)

    def show(self, what: str, slot: str = "blue") -> str:
        """Return a property of the slot's unit."""
        return self.sh("systemctl", "show", "--value", f"--property={what}", f"shop@{slot}.service").strip()

    def processes(self) -> list[str]:
        """Return the pids of all processes of the app's user."""
        return self.sh("ps", "-o", "pid=", "-u", "shop", check=False).split()

    def reboot(self) -> None:
        """End everything on the host and start it anew."""
        self.fleet.restart(self.name)

    def play(self, playbook: str, *arguments: str, **variables: Any) -> str:
        """Run a playbook of the collection on this host, as the user deploy, and return what it printed."""
        login = yaml.safe_load((self.fleet.inventory / "group_vars" / "all" / "fleet.yml").read_text())
        known = {"app_name": "shop", "app_runtime": "systemd", "release_state_host": "app1", **login, **variables}
        app = {"hosts": {self.name: {"ansible_host": self.fleet.address(self.name)}}}
        groups = {"app": app, "lb": {"hosts": {"lb1": {}}}}
        inventory = self.directory / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"vars": known, "children": groups}}))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ansible.cli.playbook", "-i", str(inventory), str(ROOT / playbook)),
                *("--limit", f"localhost,{self.name}", *arguments),
            ],
            capture_output=True,
            check=False,
            cwd=ROOT,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _source(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if info.name.endswith((".pyc", "__pycache__")) else info
