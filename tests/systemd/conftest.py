"""Two app hosts of a fleet: one that is provisioned, and a bare one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fleet.hosts import Fleet
from tests.fleet.of_tests import a_fleet
from tests.fleet.shape import Shape
from tests.systemd.host import Host

PROVISION = "playbooks/provision.yml"
# Few starts, soon after each other, so that a test sees the end of them.
QUICK = {"provision_restart_delay": 1, "provision_start_limit": 4, "provision_start_limit_seconds": 60}
WRITABLE = {
    "provision_writable_paths": ["/var/lib/shop"],
    "provision_memory_max": "512M",
    "provision_cpu_quota": "150%",
}


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two app hosts, and a load balancer."""
    with a_fleet(Shape(app=2, lb=1), tmp_path_factory.mktemp("systemd")) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def provisioned(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A host that provision.yml has made ready."""
    host = Host(fleet, "app1", tmp_path_factory.mktemp("host"))
    host.prepare()
    host.play(PROVISION, **QUICK, **WRITABLE)
    return host


@pytest.fixture
def host(provisioned: Host) -> Iterator[Host]:
    """The same host, with nothing in its slots."""
    yield provisioned
    for slot in ("blue", "green"):
        provisioned.slot("absent", slot)
