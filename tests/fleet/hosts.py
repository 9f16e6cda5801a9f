"""A fleet that runs, and what a test asks of its hosts and does to them."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_json

from tests.fleet import ready
from tests.fleet.docker import docker
from tests.fleet.inventories import ssh_options
from tests.fleet.shape import Host

LOGGING_IN, ENDING, KEPT = 10, 10, 30  # seconds


def control(number: str) -> Path:
    """Return where ssh keeps its connections to the hosts of the fleet with this id."""
    # The path of a socket may have a hundred characters, so it cannot be in a directory that may lie deep.
    return Path(tempfile.gettempdir()) / f"baton-fleet-{number}"


class Fleet:
    """The hosts that ``python -m tests.fleet up`` made, by their names in the inventory."""

    def __init__(self, root: Path) -> None:
        """Read what is known of the fleet in ``root``.

        Raises:
            BatonError: there is none.
        """
        self.root = root
        record = read_json(root / "fleet.json")
        if record is None:
            raise BatonError(found=f"no fleet in {root}", expected="one", fix="python -m tests.fleet up")
        self.name: str = record["name"]
        self.subnet: str = record["subnet"]
        self._control = control(str(record["id"]))
        self.hosts = {one["name"]: Host(**one) for one in record["hosts"]}

    @property
    def inventory(self) -> Path:
        """The directory to give to ``ansible-playbook -i``."""
        return self.root / "inventory"

    @property
    def secrets(self) -> dict[str, Any]:
        """What the servers of the fleet ask for, such as ``DATABASE_URL``."""
        return read_json(self.root / "secrets.json") or {}

    def names(self, group: str) -> list[str]:
        """Return the names of the hosts of a group."""
        return [host.name for host in self.hosts.values() if host.group == group]

    def address(self, host: str) -> str:
        """Return the address of a host; it stays the same as long as the fleet is there."""
        return self.hosts[host].address

    def url(self, balancer: str) -> str:
        """Return where users reach a load balancer, on 127.0.0.1."""
        return f"http://127.0.0.1:{self.hosts[balancer].port}"

    def container(self, host: str) -> str:
        """Return the name of a host's container."""
        return f"{self.name}-{self.hosts[host].name}"

    def ssh_command(self, host: str, *command: str, keep: bool = False) -> list[str]:
        """Return the command line that runs ``command`` on a host, as the user that Ansible logs in as.

        ``keep`` has the next one use the same connection, in a tenth of the time; not for hosts that are paused or switched off.
        """
        options = {**ssh_options(self.root / "known_hosts"), "BatchMode": "yes", "ConnectTimeout": str(LOGGING_IN)}
        if keep:
            socket = str(self._control / "asked-%h")
            options |= {"ControlMaster": "auto", "ControlPath": socket, "ControlPersist": str(KEPT)}
        given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        return [
            "ssh",
            "-F",
            "/dev/null",
            *given,
            "-i",
            str(self.root / "key"),
            f"deploy@{self.address(host)}",
            *command,
        ]

    def ssh(
        self,
        host: str,
        command: str,
        *,
        given: str = "",
        keep: bool = False,
        check: bool = True,
        seconds: float = 60,
    ) -> str:
        """Run a command of a shell on a host, which reads ``given``, and return what it prints on both outputs.

        Raises:
            BatonError: it failed, unless ``check`` is false.
        """
        done = subprocess.run(
            self.ssh_command(host, command, keep=keep),
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode != 0:
            raise BatonError(
                found=f"{host}: {command} ended with {done.returncode}: {done.stdout.strip()}",
                expected="a command that goes well",
                fix=f"python -m tests.fleet ssh {host}",
            )
        return done.stdout

    def pause(self, host: str) -> None:
        """Freeze a host: its connections stay open, and nothing answers."""
        docker("pause", self.container(host))

    def unpause(self, host: str) -> None:
        """Let a frozen host go on."""
        docker("unpause", self.container(host))

    def kill(self, host: str) -> None:
        """Cut the power of a host; its disk stays as it is."""
        docker("kill", self.container(host))

    def start(self, host: str) -> list[str]:
        """Start a host that is off, wait for it, and return its units that failed."""
        docker("start", self.container(host))
        return self.wait(host)

    def restart(self, host: str) -> list[str]:
        """Reboot a host in good order, wait for it, and return its units that failed."""
        docker("restart", "--time", str(ENDING), self.container(host))
        return self.wait(host)

    def wait(self, host: str) -> list[str]:
        """Wait until a host has started, and return its units that failed."""
        return ready.wait(self.container(host), self.address(host))
