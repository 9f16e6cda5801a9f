# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Real load balancers with real servers behind them. Here alone is decided where there is none."""

from __future__ import annotations

import os
import shutil
import typing
from pathlib import Path

import pytest

from tests import packages
from tests.balancers.running_haproxy import RunningHAProxy
from tests.balancers.running_nginx import RunningNginx

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


@pytest.fixture(scope="session")
def haproxy_command() -> str:
    """Return the path of HAProxy, which root on Debian gets installed."""
    return _installed("haproxy", "HAProxy")


@pytest.fixture(scope="session")
def nginx_command() -> str:
    """Return the path of nginx, which root on Debian gets installed."""
    return _installed("nginx", "nginx")


def _installed(program: str, name: str) -> str:
    found = shutil.which(program, path=PATH)
    if found is None and packages.installable():
        packages.install([program])
        found = shutil.which(program, path=PATH)
    if found is None:
        pytest.skip(f"needs {name}, and can install it only as root on Debian")
    return found


@pytest.fixture
def haproxy(haproxy_command: str, tmp_path: Path) -> typing.Iterator[RunningHAProxy]:
    """Return an HAProxy that runs, with two hosts of two slots each; nothing is live."""
    running = RunningHAProxy(haproxy_command, tmp_path)
    try:
        running.start()
        running.await_up()
        yield running
    finally:
        running.close()


@pytest.fixture
def nginx(nginx_command: str, tmp_path: Path) -> typing.Iterator[RunningNginx]:
    """Return an nginx that runs, with three hosts of two slots each; nothing is live."""
    running = RunningNginx(nginx_command, tmp_path)
    try:
        running.start()
        yield running
    finally:
        running.close()
