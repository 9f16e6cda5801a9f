"""Hosts with systemd, from the image that BATON_FLEET_IMAGE names."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.systemd.host import Host, running

PROVISION = "playbooks/provision.yml"
# Few starts, soon after each other, so that a test sees the end of them.
QUICK = {"provision_restart_delay": 1, "provision_start_limit": 4, "provision_start_limit_seconds": 60}
WRITABLE = {
    "provision_writable_paths": ["/var/lib/shop"],
    "provision_memory_max": "512M",
    "provision_cpu_quota": "150%",
}


@pytest.fixture(scope="session")
def image() -> str:
    """The image of a host, with systemd, sshd, sudo, Python, curl and ps."""
    name = os.environ.get("BATON_FLEET_IMAGE", "")
    if not name:
        pytest.skip("BATON_FLEET_IMAGE names no image of a host with systemd")
    return name


@pytest.fixture(scope="session")
def provisioned(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host that provision.yml has made ready."""
    with running(image, tmp_path_factory.mktemp("host")) as host:
        host.play(PROVISION, **QUICK, **WRITABLE)
        yield host


@pytest.fixture
def host(provisioned: Host) -> Iterator[Host]:
    """The same host, with nothing in its slots."""
    yield provisioned
    for slot in ("blue", "green"):
        provisioned.slot("absent", slot)
