"""This machine as an app host with docker: app_slot as a release calls it, and the containers that it has made."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.baton.release.plugins.module_utils.part_app_slot import ARGUMENT_SPEC, run

from tests.fleet.docker import attempt, docker, inspect
from tests.postgres import free_port

PATIENCE_SECONDS = 30.0


class Host:
    """One host: its directories, and an app whose name no other run has."""

    def __init__(self, root: Path, app: str, images: str) -> None:
        self.root = root
        self.app = app
        self.images = images
        """The repository of the app's images."""
        self.ports = {"blue": free_port(), "green": free_port()}

    def artifact(self, version: str, files: Mapping[str, bytes] | None = None) -> dict[str, str]:
        """Have the artifact of a version, with these files in it."""
        path = self.root / f"{version}.tar.gz"
        if not path.exists():
            with tarfile.open(path, "w:gz", compresslevel=1) as tar:
                for name, content in {"VERSION": version.encode(), **(files or {})}.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        return {"artifact": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    def slot(
        self, state: str, slot: str = "blue", version: str = "v1", *, check_mode: bool = False, **more: Any
    ) -> dict[str, Any]:
        """Run app_slot; raises BatonError."""
        params = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
        params |= {"app_name": self.app, "app_root": str(self.root / "app"), "state_dir": str(self.root / "state")}
        params |= {"slot": slot, "version": version, "state": state, "port": self.ports[slot], "instance": "app 1"}
        params |= {"runtime": "docker", "docker_image": f"{self.images}:{{version}}", "docker_address": "127.0.0.1"}
        params |= {"command": [], "start_timeout": 20, "stop_timeout": 10, **self.artifact(version), **more}
        return run(params, check_mode=check_mode)

    def serve(self, slot: str = "blue", version: str = "v1", **more: Any) -> str:
        """Have a slot started; return the id of its container."""
        self.slot("present", slot, version, **more)
        self.slot("started", slot, version, **more)
        return str(self.container(slot)["Id"])

    def secret(self, text: str, slot: str = "blue") -> None:
        """Deliver a slot's secrets, as secret_fetch does."""
        path = self.root / "app" / "slots" / slot / "secrets.env"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)

    def seen(self, slot: str = "blue") -> dict[str, Any]:
        """Return what app_slot says of a slot."""
        found: dict[str, Any] = self.slot("gathered")["slots"][slot]
        return found

    def name(self, slot: str = "blue") -> str:
        """Return the name of a slot's container."""
        return f"{self.app}-{slot}"

    def container(self, slot: str = "blue") -> dict[str, Any]:
        """Return what docker says of a slot's container, nothing where there is none."""
        return inspect("container", self.name(slot)) or {}

    def policy(self, slot: str = "blue") -> str:
        """Return the restart policy of a slot's container."""
        return str(self.container(slot)["HostConfig"]["RestartPolicy"]["Name"])

    def asked(self, slot: str = "blue", path: str = "/") -> Any:
        """Ask the app."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[slot]}{path}", timeout=5) as answer:
            return json.load(answer)

    def until(self, state: str, slot: str = "blue") -> dict[str, Any]:
        """Wait until app_slot says that a slot is so; return all that it says then."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (seen := self.seen(slot))["state"] != state:
            assert time.monotonic() < deadline, seen
            time.sleep(0.1)
        return seen

    def leave(self) -> None:
        """Have no container left, whatever a test has made of them."""
        for one in docker("ps", "--all", "--quiet", "--filter", f"name={self.app}-").split():
            attempt("rm", "--force", "--volumes", one)

    def save(self, version: str) -> bytes:
        """Return the archive of a version's image."""
        path = self.root / "saved.tar"
        docker("save", "--output", str(path), f"{self.images}:{version}")
        return path.read_bytes()
