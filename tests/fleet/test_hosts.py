"""The fleet itself: hosts that are reached as real ones are, and are who they say they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.fleet.hosts import Fleet


def test_ansible_reaches_every_host_and_becomes_root(fleet: Fleet) -> None:
    ansible = str(Path(sys.executable).with_name("ansible"))
    command = [ansible, "all", "-i", str(fleet.inventory), "-b", "-o", "-m", "ansible.builtin.command", "-a", "id -u"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(said) == len(fleet.hosts)
    assert all(line.endswith("(stdout) 0") for line in said), said


def test_a_host_with_another_key_is_not_believed(fleet: Fleet) -> None:
    known = fleet.root / "known_hosts"
    before = known.read_text()
    own, other = (line.split() for line in before.splitlines()[:2])
    known.write_text(f"{own[0]} {' '.join(other[1:])}\n")
    try:
        said = fleet.ssh(own[0].split(",")[0], "true", check=False)
    finally:
        known.write_text(before)
    assert "Host key verification failed" in said


def test_a_host_whose_power_was_cut_comes_back_at_its_address(fleet: Fleet) -> None:
    fleet.ssh("app2", "echo kept | sudo tee /var/kept")
    fleet.kill("app2")
    assert fleet.start("app2") == []
    assert fleet.ssh("app2", "cat /var/kept && hostname") == "kept\napp2\n"
