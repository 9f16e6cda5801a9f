"""An image of a few megabytes in which this machine's Python runs an app that can misbehave, made without a registry."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fleet.docker import docker

__all__ = ["APP", "base", "build"]

HOME = "opt/python"
SECONDS = 120.0
# What the app imports, and what its libraries do only once it runs.
IMPORTS = """\
import http.server, json, os, pathlib, signal, sys, threading, time
for name in ("ascii", "idna", "iso-8859-1", "utf-8"):
    "x".encode(name)
for module in list(sys.modules.values()):
    print(getattr(module, "__file__", None) or "")
    print(getattr(module, "__cached__", None) or "")
"""
APP = """\
import http.server, json, os, pathlib, signal, sys, threading, time
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
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/crash":
            os._exit(3)
        if self.path.startswith("/try/"):
            try:
                seen = str(pathlib.Path(self.path[4:]).write_text("x"))
            except OSError as error:
                seen = error.strerror
        elif self.path.startswith("/health"):
            seen = {"status": "ok", "version": os.environ["BATON_VERSION"]}
        else:
            seen = {"env": dict(os.environ), "cwd": os.getcwd(), "uid": os.getuid(), "argv": sys.argv,
                    "status": pathlib.Path("/proc/self/status").read_text()}
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Version", os.environ["BATON_VERSION"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
if mood == "lazy":
    time.sleep(2)
Server(("", int(os.environ["PORT"])), Handler).serve_forever()
"""


def base(name: str) -> str:
    """Import the image ``name``: Python, the app, and nothing else; return its id."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        program = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}").resolve()
        tar.add(program, f"{HOME}/bin/python3")
        modules = _modules(program)
        for path in modules:
            tar.add(path, f"{HOME}/{path.relative_to(sys.base_prefix)}")
        for library in _libraries([program, *(path for path in modules if path.suffix == ".so")]):
            tar.add(library.resolve(), str(library).lstrip("/"))
        text = APP.encode()
        info = tarfile.TarInfo("app/app.py")
        info.size, info.mode = len(text), 0o644
        tar.addfile(info, io.BytesIO(text))
        for directory, mode in (("tmp", 0o1777), ("proc", 0o755), ("dev", 0o755), ("etc", 0o755)):
            info = tarfile.TarInfo(directory)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)
    changes = [
        f"ENV PATH=/{HOME}/bin PYTHONHOME=/{HOME} PYTHONDONTWRITEBYTECODE=1",
        "WORKDIR /app",
        'CMD ["python3", "app.py"]',
    ]
    return docker("import", *(f"--change={one}" for one in changes), "-", name, given=data.getvalue(), seconds=SECONDS)


def build(name: str, origin: str, *more: str) -> str:
    """Make the image ``name`` of another one, with further lines of a Dockerfile; return its id."""
    text = "\n".join((f"FROM {origin}", f"LABEL made={time.time_ns()}", *more))
    docker("build", "--quiet", "--force-rm", "--tag", name, "-", given=text.encode(), seconds=SECONDS)
    return docker("image", "inspect", "--format={{.Id}}", name)


def _modules(program: Path) -> list[Path]:
    said = subprocess.run([str(program), "-I", "-c", IMPORTS], capture_output=True, text=True, check=True).stdout
    library = Path(sys.base_prefix, "lib")
    found = {Path(line) for line in said.splitlines() if line}
    return sorted(one for one in found if library in one.parents and "site-packages" not in one.parts and one.exists())


def _libraries(programs: Sequence[Path]) -> list[Path]:
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True).stdout
    return sorted({Path(found) for found in re.findall(r"(?:=> |^\s*)(/\S+) \(0x", said, re.MULTILINE)})
