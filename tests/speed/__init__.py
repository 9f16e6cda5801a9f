"""What makes playbooks in tests cheaper without changing what they do."""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["CHEAPER", "warm"]

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
_START_SECONDS = 60.0
CHEAPER = {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(_HERE), str(_ROOT), os.environ.get("PYTHONPATH", "")])),
    "BATON_TEST_COMPILED": str(_ROOT / ".cache" / "compiled"),
}
"""Environment variables for a playbook that a test runs."""


@functools.cache
def warm() -> dict[str, str]:
    """Start a Python for the modules of this process's playbooks, which ends with it, and return the environment variables for them."""
    address = Path(tempfile.mkdtemp(prefix="warm-"), "socket")
    atexit.register(shutil.rmtree, address.parent, ignore_errors=True)
    command = [sys.executable, "-m", "tests.speed.warm_python", str(address)]
    server = subprocess.Popen(command, cwd=_ROOT, env={**os.environ, **CHEAPER}, stdin=subprocess.PIPE)
    deadline = time.monotonic() + _START_SECONDS
    while not address.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{' '.join(command)} did not start (exit code {server.poll()})")
        time.sleep(0.02)
    return {"BATON_TEST_WARM": str(address), "BATON_TEST_MODULES": str(_ROOT / ".cache" / "modules" / _sources())}


def _sources() -> str:
    """Return a digest of all that is sent to hosts."""
    digest = hashlib.sha256(f"{sys.version} {importlib.metadata.version('ansible-core')}".encode())
    for path in sorted((_ROOT / "plugins").rglob("*.py")):
        digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()
