"""Making a fleet and taking it away. The engine's labels say what belongs to it, so that nothing else is ever taken away."""

from __future__ import annotations

import concurrent.futures
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import locked, read_json, write_json

from tests.fleet import engine, files, image, inventories, keys, limits, ready, servers
from tests.fleet.docker import attempt, docker, inspect, labelled
from tests.fleet.hosts import Fleet, control
from tests.fleet.shape import Host, Shape, hosts
from tests.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
DEFAULT = "baton"
LINK = Path(__file__).with_name("inventory")
"""Leads to the inventory of the fleet that has no name or directory of its own."""
LABEL, PLACE = "baton.fleet", "baton.fleet.root"
WORKERS = 6
"""Containers that are made at once; the engine gains nothing from more."""
ATTEMPTS = 5
AS_A_MACHINE = (
    *("--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cgroupns=private", "--stop-signal", "SIGRTMIN+3"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"),  # noqa: S108 - a directory of the container's own
)

Say = Callable[[str], None]


def place(name: str, root: Path | None = None) -> Path:
    """Return the directory of the fleet ``name``."""
    return (root or CACHE / "fleets" / name).resolve()


def up(shape: Shape, *, name: str = DEFAULT, root: Path | None = None, say: Say = print) -> Fleet:
    """Make a fleet, or what is missing of it, and wait until every host has started.

    Args:
        shape: its hosts.
        name: what its containers and its network are called after.
        root: its directory; by default one in .cache.
        say: told what takes time.

    Raises:
        BatonError: there is no engine or no image to be had, another fleet has the name, or a host does not start.
    """
    directory = place(name, root)
    engine.ensure(say)
    with locked(directory.with_name(f"{directory.name}.lock")):
        picture = image.ensure(say)
        limits.allow(sum(shape.groups().values()), say)
        record = _known(directory, name, shape)
        if record is None:
            down(name=name, root=root)
            record = _make(directory, name, shape, picture)
        fleet = Fleet(directory)
        _start(fleet, say)
        _describe(fleet, shape.balancer)
        _fill(fleet)
        if root is None and name == DEFAULT:
            _link(fleet.inventory)
    return fleet


def down(*, name: str = DEFAULT, root: Path | None = None) -> bool:
    """Take a fleet away, with its directory, and return whether there was anything of it; one that is not there is fine.

    Raises:
        BatonError: the engine does not do it.
    """
    containers, networks = [], []
    directory = place(name, root)
    if engine.answers():
        containers = labelled("container", f"{LABEL}={name}")
        networks = labelled("network", f"{LABEL}={name}")
        for network in networks:
            directory = Path((inspect("network", network) or {"Labels": {}})["Labels"].get(PLACE, directory))
        if containers:
            # What is frozen cannot die.
            attempt("unpause", *containers)
            docker("rm", "--force", "--volumes", *containers)
        if networks:
            docker("network", "rm", *networks)
    record = read_json(directory / "fleet.json") or {}
    if record.get("name") == name:
        shutil.rmtree(control(str(record["id"])), ignore_errors=True)
        shutil.rmtree(directory)
    if name == DEFAULT and LINK.is_symlink() and not LINK.exists():
        LINK.unlink()
    return bool(containers or networks)


def _known(directory: Path, name: str, shape: Shape) -> dict[str, Any] | None:
    """Return the record of a fleet that is whole, or None where it has to be made."""
    record = read_json(directory / "fleet.json")
    network = inspect("network", name_of_network(name))
    if network is not None and network["Labels"].get(PLACE, str(directory)) != str(directory):
        raise BatonError(
            found=f"a fleet called {name}, in {network['Labels'][PLACE]}",
            expected=f"none of this name, or one in {directory}",
            fix=f"use another --name, or python -m tests.fleet down --name {name}",
        )
    there = len(labelled("container", f"{LABEL}={name}"))
    if record is None or network is None or there != len(record["hosts"]):
        return None
    if record["shape"] != asdict(shape):
        raise BatonError(
            found=f"the fleet {name} with {_told(record['shape'])}",
            expected=f"one with {_told(asdict(shape))}",
            fix=f"use another --name, or python -m tests.fleet down --name {name}",
        )
    return record


def _told(shape: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in shape.items())


def name_of_network(name: str) -> str:
    """Return the name of the network of a fleet."""
    return f"{name}-net"


def _make(directory: Path, name: str, shape: Shape, picture: str) -> dict[str, Any]:
    """Make network, keys and containers, and return the record of the fleet."""
    subnet = _network(name, directory)
    ports = iter(free_port, 0)
    machines = hosts(shape, subnet, _distinct(ports))
    record = {
        "name": name,
        "id": secrets.token_hex(4),
        "shape": asdict(shape),
        "subnet": subnet,
        "image": picture,
        "hosts": [asdict(host) for host in machines],
    }
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys.make(directory / "key")
    keys.know(directory / "known_hosts", directory / "host_keys", machines)
    passwords = keys.passwords(directory / "passwords.json", ("shop", "redis", "seal"))
    archives = {
        host.name: files.of(
            host, login=directory / "key.pub", keys=directory / "host_keys", passwords=passwords, subnet=subnet
        )
        for host in machines
    }
    mounts = {"bao": servers.bao_binary(CACHE / "openbao")} if shape.bao else {}

    def create(host: Host) -> None:
        """Make a host that is off, and give it its files."""
        container = f"{name}-{host.name}"
        options = ["--name", container, "--hostname", host.name, "--label", f"{LABEL}={name}", *AS_A_MACHINE]
        options += ["--network", name_of_network(name), "--ip", host.address]
        # Names are known also while their hosts are off, as they are in a real network.
        options += [part for one in machines for part in ("--add-host", f"{one.name}:{one.address}")]
        options += ["--publish", f"127.0.0.1:{host.port}:80"] if host.port else []
        options += ["--volume", f"{mounts[host.group]}:/usr/local/bin/bao:ro"] if host.group in mounts else []
        docker("create", *options, picture)
        docker("cp", "-", f"{container}:/", given=archives[host.name])

    _at_once(create, machines)
    # Last, so that a fleet that was not made to its end is made anew.
    write_json(directory / "fleet.json", record)
    return record


def _network(name: str, directory: Path) -> str:
    """Make the network of a fleet and return its subnet."""
    labels = ("--label", f"{LABEL}={name}", "--label", f"{PLACE}={directory}")
    network = name_of_network(name)
    for _ in range(ATTEMPTS):
        # Addresses can only be chosen in a subnet that was chosen: the engine says which one is free.
        docker("network", "create", *labels, network)
        subnet = str((inspect("network", network) or {})["IPAM"]["Config"][0]["Subnet"])
        docker("network", "rm", network)
        if attempt("network", "create", *labels, "--subnet", subnet, network).returncode == 0:
            return subnet
    raise BatonError(
        found="no subnet that stays free", expected="one for the fleet", fix="end other fleets: docker network ls"
    )


def _distinct(ports: Iterator[int]) -> Iterator[int]:
    """Yield each port once."""
    given = set()
    for port in ports:
        if port not in given:
            given.add(port)
            yield port


def _start(fleet: Fleet, say: Say) -> None:
    """Start the hosts that are off or frozen, and wait for all; say which units failed."""

    def start(host: Host) -> list[str]:
        container = fleet.container(host.name)
        state = (inspect("container", container) or {"State": {}})["State"]
        if state.get("Paused"):
            docker("unpause", container)
        elif not state.get("Running"):
            docker("start", container)
        return ready.wait(container, host.address)

    for host, units in zip(fleet.hosts.values(), _at_once(start, fleet.hosts.values()), strict=True):
        if units:
            say(f"{host.name} has started, but for {', '.join(units)}")


def _fill(fleet: Fleet) -> None:
    """Give the servers what they hold from the start, and write down how they are asked."""
    passwords = read_json(fleet.root / "passwords.json") or {}
    known = fleet.secrets
    for name in fleet.names("db"):
        servers.database(fleet.container(name), passwords["shop"])
        address = fleet.address(name)
        known["DATABASE_URL"] = f"postgresql+psycopg://shop:{passwords['shop']}@{address}:5432/shop"
        known["REDIS_URL"] = f"redis://:{passwords['redis']}@{address}:6379/0"
    for name in fleet.names("bao"):
        known["BAO_ADDR"] = f"http://{fleet.address(name)}:8200"
        known["BAO_TOKEN"] = servers.open_bao(fleet.address(name), known.get("BAO_TOKEN", ""))
    write_json(fleet.root / "secrets.json", known, mode=keys.PRIVATE)


def _describe(fleet: Fleet, balancer: str) -> None:
    """Write the inventory."""
    record = read_json(fleet.root / "fleet.json") or {}
    connections = control(record["id"])
    connections.mkdir(mode=0o700, exist_ok=True)
    more = {"fleet_name": fleet.name, "fleet_secrets_path": str(fleet.root / "secrets.json")}
    shared = inventories.variables(
        login=fleet.root / "key", known=fleet.root / "known_hosts", control=connections, more=more
    )
    inventories.write(fleet.inventory, list(fleet.hosts.values()), shared, balancer=balancer)


def _link(inventory: Path) -> None:
    LINK.unlink(missing_ok=True)
    LINK.symlink_to(inventory)


def _at_once(work: Callable[[Host], Any], over: Iterable[Host]) -> list[Any]:
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as workers:
        return list(workers.map(work, over))
