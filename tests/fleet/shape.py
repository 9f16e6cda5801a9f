"""What a fleet consists of, and where each host is."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

BALANCERS = {"haproxy": "haproxy.service", "nginx": "nginx.service", "caddy": "caddy.service"}
"""The load balancers, each with its unit."""
UNITS = {"db": ("postgresql.service", "redis-server.service"), "bao": ("openbao.service",)}
"""The units that run on the hosts of a group; app hosts and load balancers get theirs from what is tested."""
FIRST_ADDRESS = 10


@dataclass(frozen=True)
class Shape:
    """How many hosts of each kind there are; ``bao`` adds one with OpenBao."""

    app: int = 3
    lb: int = 2
    balancer: str = "haproxy"
    bao: bool = False

    def groups(self) -> dict[str, int]:
        """Return the number of hosts of every group of the inventory."""
        counted = {"app": self.app, "lb": self.lb, "db": 1, "bao": int(self.bao)}
        return {group: number for group, number in counted.items() if number}


@dataclass(frozen=True)
class Host:
    """A host: ``port`` is where this machine's 127.0.0.1 reaches its port 80, or 0."""

    name: str
    group: str
    address: str
    port: int = 0


def hosts(shape: Shape, subnet: str, ports: Iterator[int]) -> list[Host]:
    """Return the hosts of a fleet, each with an address that stays the same over reboots.

    Args:
        shape: what there is.
        subnet: the network of the fleet, such as ``172.20.0.0/16``.
        ports: a free port of this machine for each load balancer.
    """
    addresses = (str(ipaddress.ip_network(subnet)[number]) for number in range(FIRST_ADDRESS, FIRST_ADDRESS + 230))
    return [
        Host(f"{group}{number}", group, next(addresses), next(ports) if group == "lb" else 0)
        for group, count in shape.groups().items()
        for number in range(1, count + 1)
    ]
