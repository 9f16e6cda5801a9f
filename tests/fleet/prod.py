"""The fleet as the hosts that ``inventories/prod`` names: what a test plays there, asks of it and does to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.environment import ROOT, Environment
from tests.fleet.haproxy_program import MAP
from tests.fleet.hosts import Fleet
from tests.witness.checker import judge
from tests.witness.ledger import Ledger
from tests.witness.process import Witness, watched

__all__ = ["DOMAIN", "Prod", "Sized"]

DOMAIN = ".prod.example.com"
# All at once but where a test says, a watch that is shorter than prod's quarter of an hour, and no waiting for what will not come.
QUICK: dict[str, Any] = {
    "traffic_steps": [],
    "watch_step_seconds": 1,
    "watch_seconds": 2,
    "watch_slice_seconds": 1,
    "watch_probe_rate": 20,
    "app_health_deadline": 20,
    "app_start_timeout": 20,
}
FROZEN_SECONDS = 10
"""After so long a host that says nothing counts as unreachable."""
RATE = 30.0


class Prod(Environment):
    """The hosts of a fleet, called by the names of ``inventories/prod`` and configured by its variables alone."""

    def __init__(self, fleet: Fleet, root: Path, artifacts: Path) -> None:
        """Take a fleet with three app hosts and two load balancers, and the builds that it is to have."""
        super().__init__(root)
        self.fleet = fleet
        self.inventory = ROOT / "inventories" / "prod"
        shutil.copytree(artifacts, root / "artifacts")
        shared = yaml.safe_load((fleet.inventory / "group_vars" / "all" / "fleet.yml").read_text())
        # Whoever has real hosts says this in host_vars and in ssh_config.
        shared["ansible_timeout"] = FROZEN_SECONDS
        hosts = {
            f"{host.name}{DOMAIN}": {"ansible_host": host.address}
            for host in fleet.hosts.values()
            if host.group in ("app", "lb")
        }
        self.overlay.write_text(json.dumps({"all": {"vars": shared, "hosts": hosts}}))

    def command(self, playbook: str, *arguments: str, **variables: Any) -> list[str]:
        """Return the command line of a playbook on prod."""
        inventories = ("--inventory", str(self.inventory), "--inventory", str(self.overlay))
        settings = {**QUICK, "app_artifact_dir": str(self.root / "artifacts"), **variables}
        return super().command(playbook, *inventories, *arguments, **settings)

    def variables(self, tasks: Path | None = None, **more: str) -> dict[str, str]:
        """Return the environment variables of a playbook, which runs as it does for users; prod's secrets come from there."""
        own = {"SHOP_PROD_DATABASE_URL": str(self.fleet.secrets["DATABASE_URL"]), "BATON_TEST_WARM": ""}
        return super().variables(tasks, **{**own, **more})

    @property
    def url(self) -> str:
        """The address that users ask, of the first load balancer."""
        return self.fleet.url("lb1")

    def live(self) -> str:
        """Return the live slot, from the file that each HAProxy starts with."""
        (slot,) = {self.fleet.ssh(name, f"sudo cat {MAP}").split()[-1] for name in self.fleet.names("lb")}
        return slot

    def unit(self, host: str, slot: str) -> str:
        """Return the state of a slot's unit, such as ``active``."""
        return self.fleet.ssh(host, f"systemctl is-active shop@{slot}.service", check=False).strip()

    @contextmanager
    def watched(self, name: str, *balancers: str, rate: float = RATE) -> Iterator[dict[str, Ledger]]:
        """Have clients ask the load balancers (all of them) all the while; what they wrote down is there in the end."""
        names = balancers or self.fleet.names("lb")
        with watched({balancer: self._client(f"{name}-{balancer}", balancer, rate) for balancer in names}) as ledgers:
            yield ledgers

    @contextmanager
    def unharmed(self, name: str, *balancers: str) -> Iterator[None]:
        """Let no request through these load balancers (all of them) fail."""
        with self.watched(name, *balancers) as ledgers:
            yield
        for balancer, ledger in ledgers.items():
            verdict = judge(ledger)
            assert verdict.ok, [balancer, *verdict.reasons]
            assert verdict.requests > RATE

    def _client(self, name: str, balancer: str, rate: float) -> Witness:
        ledger = self.root / "ledgers" / f"{name}.jsonl"
        # Without /products: the shop gives a connection to its database two seconds, which a machine that runs a whole fleet and a
        # release on two cores does not always have, release or not.
        return Witness(self.fleet.url(balancer), ledger, seconds=900, rate=rate)


class Sized(Prod):
    """A fleet of any size with prod's variables: the inventory is prod's but for the list of hosts."""

    def __init__(self, fleet: Fleet, root: Path, artifacts: Path) -> None:
        """Take the fleet and the builds that it is to have."""
        super().__init__(fleet, root, artifacts)
        prod, self.inventory = self.inventory, root / "inventory"
        self.inventory.mkdir()
        (self.inventory / "group_vars").symlink_to(prod / "group_vars")
        hosts = yaml.safe_load((prod / "hosts.yml").read_text())
        for group in ("app", "lb"):
            hosts["all"]["children"][group]["hosts"] = {f"{name}{DOMAIN}": {} for name in fleet.names(group)}
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump(hosts))

    def variables(self, tasks: Path | None = None, **more: str) -> dict[str, str]:
        """Return the environment variables of a playbook, without what makes tests cheaper: seconds are measured here."""
        return super().variables(
            tasks, **{"BATON_TEST_MODULES": "", "BATON_TEST_COMPILED": "", "PYTHONDONTWRITEBYTECODE": "", **more}
        )
