"""Run tests at the other end of what is supported: ``python -m tests.interpreters tests/unit -n 2 -q``.

The project's own virtual environment is one end: Python 3.11 gets ansible-core 2.19, Python 3.12 and newer get the newest. This finds
an interpreter for the other end on PATH or in pyenv, makes an environment of its own for it once, in ``.cache``, and runs pytest there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = (ROOT / "requirements.txt", ROOT / "tests" / "requirements.txt")
# The best one first. ansible-core newer than 2.19 needs Python 3.12.
OLDEST = ("3.11",)
NEWEST = ("3.13", "3.12")
# A shim of pyenv is found on PATH and yet is no interpreter; a Python of the system may lack what makes an environment.
PROBE = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"


def find(version: str) -> Path | None:
    """Return an interpreter of ``version`` ("3.9") that runs and can make environments, or None."""
    on_path = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [Path(on_path)] if on_path else []
    candidates += sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)
    for candidate in candidates:
        probe = subprocess.run([str(candidate), "-c", PROBE], capture_output=True, text=True, check=False)
        if probe.returncode == 0 and probe.stdout.strip() == version:
            return candidate
    return None


def other_end(running: tuple[int, int] = sys.version_info[:2]) -> tuple[str, ...]:
    """Return the versions of Python to look for, when ``running`` is the project's own."""
    return NEWEST if running == (3, 11) else OLDEST


def digest() -> str:
    """Return what an environment was made from, so that a changed file of requirements is noticed."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in REQUIREMENTS)).hexdigest()


def environment(version: str, python: Path) -> Path:
    """Return the interpreter of the virtual environment for ``version``, made or brought up to date where needed.

    Raises:
        subprocess.CalledProcessError: the packages cannot be installed.
    """
    home = ROOT / ".cache" / f"venv-{version}"
    mark = home / "requirements.sha256"
    own = home / "bin" / "python"
    if mark.exists() and mark.read_text() == digest():
        return own
    say(f"Making {home.relative_to(ROOT)} with {python} (about 150 MB, once)")
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([str(python), "-m", "venv", str(home)], check=True)
    install = [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS[-1])]
    subprocess.run(install, check=True)
    mark.write_text(digest())
    return own


def say(text: str) -> None:
    """Print a line that stays in order with what pytest prints."""
    print(f"== {text}", flush=True)


def main(arguments: list[str]) -> int:
    """Run pytest with ``arguments`` at the other end; return its exit code, or 0 where there is no interpreter for it."""
    wanted = other_end()
    found = {version: python for version in wanted if (python := find(version))}
    if not found:
        say(
            f"Found: no Python {' or '.join(wanted)} on PATH or in pyenv. Expected: one, for the tests at the other end of what is "
            "supported. To do: install one; until then these tests are left out"
        )
        return 0
    version, python = next(iter(found.items()))
    own = environment(version, python)
    core = "from importlib.metadata import version; print(version('ansible-core'))"
    installed = subprocess.run([str(own), "-c", core], capture_output=True, text=True, check=True).stdout.strip()
    say(f"With Python {version} and ansible-core {installed}: pytest {' '.join(arguments)}")
    return subprocess.run([str(own), "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
