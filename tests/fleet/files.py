"""What a host has beside the image: its own key, whom it lets in, and how its servers are set up. Given as an archive before it starts."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.fleet.shape import UNITS, Host

WANTED = "etc/systemd/system/multi-user.target.wants"
DEPLOY = 1000
"""The ids of the user that Ansible logs in as, the first of the image."""


@dataclass
class Files:
    """An archive that is unpacked at a host's root."""

    stream: io.BytesIO = field(default_factory=io.BytesIO)

    def __post_init__(self) -> None:
        self._archive = tarfile.TarFile(fileobj=self.stream, mode="w")

    def add(self, path: str, text: str, *, mode: int = 0o644, owner: int = 0) -> None:
        """Add a file."""
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode, entry.uid, entry.gid = len(text.encode()), mode, owner, owner
        self._archive.addfile(entry, io.BytesIO(text.encode()))

    def enable(self, unit: str) -> None:
        """Let a unit start when the host does."""
        entry = tarfile.TarInfo(f"{WANTED}/{unit}")
        entry.type, entry.linkname = tarfile.SYMTYPE, f"/lib/systemd/system/{unit}"
        if not unit.startswith(("postgresql", "redis")):
            entry.linkname = f"/etc/systemd/system/{unit}"
        self._archive.addfile(entry)

    def content(self) -> bytes:
        """Return the archive."""
        self._archive.close()
        return self.stream.getvalue()


def of(host: Host, *, login: Path, keys: Path, passwords: dict[str, str], subnet: str) -> bytes:
    """Return the archive for ``host``.

    Args:
        host: the host.
        login: the public key of whoever may log in.
        keys: the directory with the hosts' own keys.
        passwords: those of the servers, by name.
        subnet: where the servers are asked from.
    """
    files = Files()
    files.add("home/deploy/.ssh/authorized_keys", login.read_text(), mode=0o600, owner=DEPLOY)
    files.add("etc/ssh/ssh_host_ed25519_key", (keys / host.name).read_text(), mode=0o600)
    files.add("etc/ssh/ssh_host_ed25519_key.pub", (keys / f"{host.name}.pub").read_text())
    if host.group == "db":
        files.add("etc/postgresql/15/main/conf.d/fleet.conf", "listen_addresses = '*'\nmax_connections = 200\n")
        files.add("etc/postgresql/15/main/pg_hba.conf", _who_may_ask(subnet))
        files.add("etc/redis/redis.conf", _redis(passwords["redis"]))
        # A container may not make the namespace of users that Debian's unit asks for.
        files.add("etc/systemd/system/redis-server.service.d/fleet.conf", "[Service]\nPrivateUsers=false\n")
    if host.group == "bao":
        files.add("etc/openbao/seal.key", passwords["seal"][:32], mode=0o600)
        files.add("etc/openbao/openbao.hcl", _bao(host))
    for unit in UNITS.get(host.group, ()):
        files.enable(unit)
    return files.content()


def _who_may_ask(subnet: str) -> str:
    return f"local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all {subnet} scram-sha-256\n"


def _redis(password: str) -> str:
    return f"bind 0.0.0.0\nport 6379\nrequirepass {password}\ndir /var/lib/redis\npidfile /run/redis/redis-server.pid\n"


def _bao(host: Host) -> str:
    # The key lies beside the store, so that a reboot needs nobody to unseal it: this is a fleet for tests.
    return f"""ui = false
api_addr = "http://{host.address}:8200"
cluster_addr = "http://{host.address}:8201"
storage "raft" {{
  path = "/var/lib/openbao"
  node_id = "{host.name}"
}}
listener "tcp" {{
  address = "0.0.0.0:8200"
  tls_disable = true
}}
seal "static" {{
  current_key_id = "fleet"
  current_key = "file:///etc/openbao/seal.key"
}}
"""
