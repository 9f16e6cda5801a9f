"""What a release is measured against: one shell script for each host, all at once, over ssh, that copies, starts and checks the same.

It locks nothing, proves nothing through a load balancer, moves no traffic, and could not go back: nothing that does more can be faster.
"""

from __future__ import annotations

import concurrent.futures
import subprocess
import time
from pathlib import Path

from tests.fleet.prod import Prod

__all__ = ["PlainError", "seconds"]

PORT = 8003
ROOT = "/srv/plain"
UNIT = "plain"
# The command and the environment of inventories/prod.
START = f"""
set -eu
sudo rm -rf {ROOT}; sudo mkdir -p {ROOT}
sudo tar -xzf - -C {ROOT}
sudo systemd-run --quiet --unit={UNIT} --uid=shop --working-directory={ROOT} --setenv=PYTHONPATH=vendor --setenv=HOST=0.0.0.0 \
  --setenv=PORT={PORT} --setenv=DATABASE_URL={{database}} --setenv=PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m shop
until curl -fsS http://127.0.0.1:{PORT}/health/ready | grep -q '"{{version}}"'; do sleep 0.1; done
"""
STOP = f"sudo systemctl stop {UNIT}; sudo rm -rf {ROOT}"


class PlainError(Exception):
    """The script did not end well on a host."""


def seconds(prod: Prod, version: str) -> float:
    """Return the seconds until ``version`` answers on all app hosts; afterwards it is gone from them.

    Raises:
        PlainError: one of the hosts did not do it.
    """
    artifact = prod.root / "artifacts" / f"shop-{version}.tar.gz"
    script = START.format(version=version, database=prod.fleet.secrets["DATABASE_URL"])
    hosts = prod.fleet.names("app")
    with concurrent.futures.ThreadPoolExecutor(len(hosts)) as workers:
        began = time.monotonic()
        done = list(workers.map(lambda host: _run(prod, host, script, artifact), hosts))
        took = time.monotonic() - began
        list(workers.map(lambda host: prod.fleet.ssh(host, STOP), hosts))
    for host, (code, said) in zip(hosts, done, strict=True):
        if code != 0:
            raise PlainError(f"{host}: {said}")
    return took


def _run(prod: Prod, host: str, script: str, artifact: Path) -> tuple[int, str]:
    with artifact.open("rb") as given:
        done = subprocess.run(
            prod.fleet.ssh_command(host, script),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    return done.returncode, done.stdout
