"""Somebody who installed the collection: a home, a project and an inventory of their own, and no clone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.environment import PLAYBOOK_SECONDS, ROOT, SETTINGS, Environment, Played
from tests.speed import CHEAPER

BIN = Path(sys.executable).parent
NAMESPACE = ("ansible_collections", "baton", "release")


def install(tarball: Path, path: Path) -> None:
    """Install the tarball into the directory of collections ``path``, with nothing else in reach."""
    command = [
        str(BIN / "ansible-galaxy"),
        "collection",
        "install",
        "--offline",
        "--no-deps",
        "-p",
        str(path),
        str(tarball),
    ]
    environment = {"HOME": str(path), "LC_ALL": "C.UTF-8", "PATH": os.defpath, "ANSIBLE_COLLECTIONS_PATH": str(path)}
    subprocess.run(command, cwd=path, env=environment, check=True)


class Installed(Environment):
    """An embedded environment that is only ever touched through the installed collection.

    Args:
        home: an empty directory. The project is in ``ops`` there, and the environment where its inventory says: in ``ops/.local``.
        collections: the directory in which the tarball was installed.
    """

    def __init__(self, home: Path, collections: Path) -> None:
        self.home = home
        self.project = home / "ops"
        self.collections = collections
        super().__init__(self.project / ".local")
        # As the documentation says it: start from an inventory of the collection.
        shutil.copytree(
            collections.joinpath(*NAMESPACE, "inventories", "local"), self.project / "inventories" / "local"
        )

    def variables(self, tasks: Path | None = None, **more: str) -> dict[str, str]:
        """Return all the environment variables that a command gets: none that leads to the clone."""
        own = {
            **CHEAPER,
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_NOCOLOR": "1",
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
        }
        return {**own, **({"BATON_TASKS": str(tasks)} if tasks else {}), **more}

    def command(self, playbook: str, *arguments: str, **variables: Any) -> list[str]:
        """Return the command line of a playbook: one of the collection's by its full name, or a file of the project."""
        settings = json.dumps({**SETTINGS, **variables})
        return ["ansible-playbook", playbook, "-i", "inventories/local", *arguments, "-e", settings]

    def play(self, playbook: str, *arguments: str, before: str = "", sabotage: str = "", **variables: Any) -> Played:
        """Run a playbook of the collection, or a file of the project, to its end; nothing can be sabotaged here."""
        assert not before
        assert not sabotage
        name = playbook if playbook.endswith(".yml") else f"baton.release.{playbook}"
        return self.run(*self.command(name, *arguments, **variables))

    def run(self, *command: str) -> Played:
        """Run a command in the project."""
        program = str(BIN / command[0])
        done = subprocess.run(
            [program, *command[1:]],
            cwd=self.project,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PLAYBOOK_SECONDS,
            check=False,
        )
        assert str(ROOT) not in done.stdout.replace(str(BIN.parent), ""), f"the clone was used: {done.stdout}"
        return Played(done.returncode, done.stdout)

    def write(self, name: str, text: str) -> str:
        """Write a file of the project and return its name."""
        (self.project / name).write_text(text)
        return name
