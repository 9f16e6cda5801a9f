# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Playbooks about load balancers that run on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import typing
from pathlib import Path

from tests.e2e.environment import ROOT, warmly

__all__ = ["CONNECTION", "play", "played"]

CONNECTION = "severable"
"""The connection of their hosts: the local one, on which modules cost half as much."""
SECONDS = 600


def played(
    inventory: Path, playbook: Path | str, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a playbook to its end.

    Args:
        inventory: its hosts, connected by CONNECTION.
        playbook: a path, below the repository unless it is absolute.
        arguments: more of the command line.
        environment: more variables of the environment.
    """
    own = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"),
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), *arguments, str(playbook)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **own, **warmly(inventory.parent / "severed"), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def play(inventory: Path, playbook: Path | str, *arguments: str, code: int = 0, **environment: typing.Any) -> str:
    """Run a playbook, which is to end with this code, and return what it says."""
    ended = played(inventory, playbook, *arguments, **environment)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout
