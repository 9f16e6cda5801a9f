"""The app hosts of a fleet behind a load balancer of another kind than prod's, in an inventory that is changed as its comments say."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.environment import ROOT
from tests.fleet.hosts import Fleet
from tests.fleet.prod import Sized

__all__ = ["DRIVERS", "Behind"]

DRIVERS = {"caddy": "http://127.0.0.1:2019", "nginx": "http://127.0.0.1:8083"}
"""The drivers, each with where it is asked."""
WELCOME = "echo ':80\nrespond welcome' | install -D /dev/stdin /etc/caddy/Caddyfile"


class Behind(Sized):
    """An app of its own for each driver, so that nothing of one is there for the next."""

    def __init__(self, fleet: Fleet, root: Path, artifacts: Path, driver: str) -> None:
        """Take the fleet and the builds that it is to have, and what stands before them."""
        super().__init__(fleet, root, artifacts)
        self.driver, self.app = driver, f"shop-{driver}"
        variables = self.inventory / "group_vars"
        variables.unlink()
        shutil.copytree(ROOT / "inventories" / "prod" / "group_vars", variables)
        (variables / "lb.yml").write_text(yaml.safe_dump({f"{driver}_listen": ":80", f"{driver}_start": True}))
        self._change("traffic", traffic_driver=driver, traffic_admin=DRIVERS[driver])
        self._change("watch", watch_access_log=None)
        self._change("app", app_name=self.app)
        self._name_builds()

    def _change(self, name: str, **changes: Any) -> None:
        """Change variables of all hosts; None is left out."""
        path = self.inventory / "group_vars" / "all" / f"{name}.yml"
        values = {**yaml.safe_load(path.read_text()), **changes}
        path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))

    def _name_builds(self) -> None:
        for build in (self.root / "artifacts").glob("shop-v*"):
            name = build.with_name(build.name.replace("shop", self.app, 1))
            if not name.exists():
                name.symlink_to(build.name)

    def new_version(self, *, edits: dict[str, str] | None = None, like: str = "v1.1.0") -> str:
        """Make the artifact of a version that was never released, and return its name."""
        version = super().new_version(edits=edits, like=like)
        self._name_builds()
        return version

    def variables(self, tasks: Path | None = None, **more: str) -> dict[str, str]:
        """Return the environment variables of a playbook."""
        database = str(self.fleet.secrets["DATABASE_URL"]).rpartition("/")[0]
        return super().variables(tasks, **{"SHOP_PROD_DATABASE_URL": f"{database}/{self.app}", **more})

    def begin(self) -> None:
        """Have the hosts as they are after the installation of packages: the load balancer runs, with a page of its own."""
        self.end()
        self.fleet.ssh("db1", f"sudo -u postgres createdb --owner=shop {self.app}")
        self.balancer(WELCOME if self.driver == "caddy" else "true")
        self.balancer(f"systemctl enable --quiet --now {self.driver}")

    def end(self) -> None:
        """Leave the load balancer and the ports of the slots to whoever comes next."""
        self.balancer("systemctl disable --quiet --now caddy haproxy nginx")
        units = [f"/etc/systemd/system/{one}.service.d" for one in DRIVERS]
        configured = ["/etc/caddy", f"/etc/nginx/conf.d/{self.app}.conf", f"/var/lib/baton/{self.app}", *units]
        self.balancer(f"rm -rf {' '.join(configured)}; systemctl daemon-reload")
        for host in self.fleet.names("app"):
            self.fleet.ssh(host, f"sudo systemctl stop '{self.app}@*'")

    def balancer(self, command: str) -> str:
        """Run a command of a shell as root on the load balancer."""
        return self.fleet.ssh("lb1", f'sudo sh -c "{command}"')
