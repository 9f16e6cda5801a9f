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

__all__ = ["CONNECTION", "configure_and_ask", "play", "played"]

CONNECTION = "severable"
"""The connection of their hosts: the local one, on which modules cost half as much."""
SECONDS = 600
CONFIGURE_AND_ASK = """\
- name: Configure and ask
  hosts: lb
  gather_facts: false
  roles:
    - role: ROLE
  post_tasks:
    - name: Ask
      baton.release.lb_switch:
        state: gathered
        driver: "{{ traffic_driver }}"
        admin: "{{ traffic_admin }}"
        app_name: "{{ app_name }}"
        state_dir: "{{ release_state_dir }}"
        preview: "{{ traffic_preview }}"
      register: balancer
    - name: Say
      ansible.builtin.debug:
        msg: "live is <{{ balancer.live }}>, asked at <{{ traffic_admin }}>, servers {{ balancer.pools.blue.servers | default([]) }}"
"""


def configure_and_ask(role: str) -> str:
    """Return a playbook that configures a load balancer by a role, and asks it what is live with the same variables."""
    return CONFIGURE_AND_ASK.replace("ROLE", f"baton.release.{role}")


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
