import os
import subprocess
import sys
from pathlib import Path

import pytest

from shop.settings import SettingsError, read_database_url, read_settings

ROOT = Path(__file__).resolve().parent.parent
URL = "postgresql://shop:hunter2@db/shop"


def test_defaults() -> None:
    settings = read_settings({"DATABASE_URL": URL})
    assert (settings.host, settings.port, settings.shutdown_timeout, settings.slot) == ("127.0.0.1", 8000, 25, "none")
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_the_installed_driver_is_used(scheme: str) -> None:
    assert read_database_url({"DATABASE_URL": f"{scheme}://db/shop"}).drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "DATABASE_URL is not set"),
        ({"DATABASE_URL": " "}, "DATABASE_URL is not set"),
        ({"DATABASE_URL": "hunter2"}, "DATABASE_URL is not a database URL"),
        ({"DATABASE_URL": "postgresql://shop:hunter2@db:port/shop"}, "DATABASE_URL is not a database URL"),
        ({"DATABASE_URL": URL, "PORT": "http"}, "PORT is 'http'"),
        ({"DATABASE_URL": URL, "PORT": "65536"}, "from 0 to 65535"),
        ({"DATABASE_URL": URL, "SHUTDOWN_TIMEOUT": "-1"}, "SHUTDOWN_TIMEOUT is '-1'"),
    ],
)
def test_what_cannot_be_used_is_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        read_settings(environment)
    assert "hunter2" not in str(refused.value)


def test_without_a_database_url_it_ends_with_one_line() -> None:
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-m", "shop"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "shop: DATABASE_URL is not set; expected postgresql://user:password@host:5432/name\n"
