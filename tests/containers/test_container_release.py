"""A release and the way back, with the playbooks, where the slots of an app host are containers, and a singleton beside them is one."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.containers.diary import INSIDE, Diary
from tests.e2e.environment import ROOT, Environment, Played
from tests.fleet.docker import attempt, docker, inspect
from tests.witness.checker import judge

COMPOSE = """\
services:
  app:
    image: {images}:${{BATON_VERSION}}
    ports: ["${{PORT}}:8000"]
    read_only: true
    cap_drop: [ALL]
    volumes: ["{diary}:{inside}"]
"""
SETTINGS: dict[str, Any] = {
    "app_runtime": "docker",
    "app_command": [],
    "app_environment": {},
    "app_docker_compose": "docker-compose.{slot}.yml",
    "database_migrate": False,
    "secrets_store": "env",
    "secrets_items": {"SECRET": "BATON_TEST_TOKEN"},
    "slot_singletons_stay": 1,
    "watch_probe_paths": ["/"],
}


class Shop(Environment):
    """An embedded environment of one app host, without a database, whose slots are containers."""

    def __init__(self, root: Path, images: str) -> None:
        super().__init__(root)
        self.app = f"baton-e2e-{os.getpid()}"
        self.inventory = root / "inventory"
        shutil.copytree(ROOT / "inventories" / "local", self.inventory)
        groups: dict[str, Any] = {"app": {"hosts": {"app1": {}}}, "lb": {"hosts": {"lb1": {}}}}
        known = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "embedded_root": str(root),
        }
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"vars": known, "children": groups}}))
        # Read last, so that it wins over those it was copied with.
        more = self.inventory / "group_vars" / "all" / "zz_docker.yml"
        more.write_text(yaml.safe_dump({**SETTINGS, "app_name": self.app}))
        self.diary = Diary(root / "diary")
        (root / "artifacts").mkdir()
        for version in ("v1", "v2"):
            self._build(version, images)

    def _build(self, version: str, images: str) -> None:
        artifact = self.root / "artifacts" / f"{self.app}-{version}.tar.gz"
        with tarfile.open(artifact, "w:gz") as tar:
            for slot in ("blue", "green"):
                text = COMPOSE.format(images=images, diary=self.diary.directory, inside=INSIDE).encode()
                info = tarfile.TarInfo(f"docker-compose.{slot}.yml")
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text))
        manifest = {"sha256": hashlib.sha256(artifact.read_bytes()).hexdigest()}
        artifact.with_name(f"{self.app}-{version}.json").write_text(json.dumps(manifest))

    def state(self, name: str) -> Path:
        """Return the state directory of the app on a host."""
        return self.host(name) / "baton" / self.app

    def run(self, playbook: str, *arguments: str, **variables: Any) -> Played:
        """Run a playbook that has to go well, with the inventory of these hosts."""
        return self.must(
            playbook, "--inventory", str(self.inventory), "--inventory", str(self.overlay), *arguments, **variables
        )

    def container(self, slot: str) -> dict[str, Any]:
        """Return what docker says of the container of a slot."""
        return inspect("container", f"{self.app}-{slot}") or {}

    def names(self) -> list[str]:
        """Return the names of the containers that run, without that of the app."""
        said = docker("ps", "--filter", f"name={self.app}-", "--format", "{{.Names}}")
        return sorted(one[len(self.app) + 1 :] for one in said.split())


@pytest.fixture
def shop(tmp_path: Path, images: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The environment, with nothing released."""
    monkeypatch.setenv("BATON_TEST_TOKEN", "s3cret-t0ken")
    one = Shop(tmp_path, images)
    one.run("embedded_up")
    try:
        yield one
    finally:
        for left in docker("ps", "--all", "--quiet", "--filter", f"name={one.app}-").split():
            attempt("rm", "--force", left)
        one.run("embedded_down")


def test_a_release_and_the_way_back_lose_no_request_and_have_one_of_each(shop: Shop) -> None:
    mailer = shop.diary.worker(stop_seconds=10)
    settings = {"slot_singletons": {"mailer": mailer}}
    provisioned = shop.run("provision", "--limit", "localhost,app1", ansible_become_method="su")
    assert provisioned.ran("See that the engine answers, and that no container of somebody else is in the way") == [
        "app1"
    ]
    assert provisioned.ran("Write the unit of the slots") == []
    first = shop.run("release", release_version="v1", **settings)
    before = shop.live()
    container = shop.container(before)
    assert container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert "SECRET=s3cret-t0ken" in container["Config"]["Env"]
    assert shop.diary.there() == [("v1", before)]
    with shop.witness("docker", paths=("/", "/health")) as witness:
        witness.wait_until_flowing()
        # One that does not stay up: the traffic comes back, and then the one that ran before.
        crashes = {"slot_singletons": {"mailer": shop.diary.worker(crashes=True)}, "slot_singletons_stay": 20}
        failed = shop.release("v2", "--inventory", str(shop.inventory), "--inventory", str(shop.overlay), **crashes)
        assert "no queue, and no way with ********" in failed.output
        assert (failed.code != 0, shop.live(), shop.diary.there()) == (True, before, [("v1", before)])
        played = shop.run("release", release_version="v2", **settings)
        after = shop.live()
        assert (shop.served()["version"], after != before) == ("v2", True)
        policies = [shop.container(slot)["HostConfig"]["RestartPolicy"]["Name"] for slot in (before, after)]
        assert policies == ["no", "unless-stopped"]
        assert (shop.diary.there(), shop.names()) == ([("v2", after)], sorted([before, after, f"{after}-mailer"]))
        back = shop.run("rollback", **settings)
        ledger = witness.stop()
    # The way back was hot: the same container went on.
    assert (shop.live(), shop.served()["version"], shop.container(before)["Id"]) == (before, "v1", container["Id"])
    assert (shop.diary.there(), shop.diary.versions()) == ([("v1", before)], ["v1", "v2", "v1", "v2", "v1"])
    assert shop.names() == sorted([before, after, f"{before}-mailer"])
    assert "s3cret" not in first.output + failed.output + played.output + back.output
    verdict = judge(ledger)
    assert verdict.ok, verdict.reasons
    assert {"v1", "v2"} <= {*verdict.versions}
