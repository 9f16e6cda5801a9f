"""The inventory of a fleet, as ansible reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.baton.release.plugins.module_utils.files import write_atomically

from tests.fleet.shape import Host

PYTHON = "/usr/bin/python3"


def ssh_options(known: Path) -> dict[str, str]:
    """Return the options of ssh by which only the hosts of the fleet are believed to be themselves."""
    return {
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known),
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
    }


def write(directory: Path, hosts: Sequence[Host], shared: dict[str, Any], *, balancer: str) -> None:
    """Write ``hosts.yml`` and the variables of the group all.

    Args:
        directory: the directory of the inventory.
        hosts: all hosts of the fleet.
        shared: the variables of all of them.
        balancer: the name of the load balancer.
    """
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for host in hosts:
        variables: dict[str, Any] = {"ansible_host": host.address}
        if host.group == "lb":
            variables |= {"fleet_public_port": host.port, "fleet_balancer": balancer}
        groups.setdefault(host.group, {"hosts": {}})["hosts"][host.name] = variables
    _dump(directory / "hosts.yml", {"all": {"children": groups}}, "The hosts of the test fleet.")
    _dump(directory / "group_vars" / "all" / "fleet.yml", shared, "How the hosts of the test fleet are reached.")


def variables(*, login: Path, known: Path, control: Path, more: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of all hosts.

    Args:
        login: the private key.
        known: the file of known hosts.
        control: where ssh keeps its connections; of this fleet alone, as a later one may have the same addresses.
        more: what else they know.
    """
    return {
        "ansible_user": "deploy",
        "ansible_ssh_private_key_file": str(login),
        "ansible_ssh_common_args": " ".join(f"-o {name}={value}" for name, value in ssh_options(known).items()),
        "ansible_control_path_dir": str(control),
        "ansible_python_interpreter": PYTHON,
        **more,
    }


def _dump(path: Path, value: dict[str, Any], comment: str) -> None:
    text = yaml.safe_dump(value, sort_keys=False, width=1000)
    write_atomically(path, f"---\n# {comment} Written by python -m tests.fleet up.\n{text}")
