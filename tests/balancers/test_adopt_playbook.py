# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The playbook adopt.yml before somebody's own HAProxy: what the roles' templates say, is enough."""

from __future__ import annotations

import json
import sys
import typing
from pathlib import Path

import yaml
from ansible_collections.baton.release.plugins.module_utils.adopt import Edit, Finding

from tests.balancers.adopting import digest, make
from tests.balancers.playing import CONNECTION, play
from tests.balancers.running_own_haproxy import RunningOwnHAProxy

ROOT = Path(__file__).resolve().parents[2]
# What the role adopt does with what the check returns, is to show it; this keeps it.
LOOK = """\
- name: Look
  hosts: lb
  gather_facts: false
  tasks:
    - name: Look
      ansible.builtin.include_role:
        name: baton.release.haproxy
        tasks_from: adopt
    - name: Keep
      ansible.builtin.copy:
        content: "{{ haproxy_look.findings | to_json }}"
        dest: "{{ release_state_dir | dirname }}/findings.json"
        mode: "0644"
"""


def inventory_of(own: RunningOwnHAProxy, **more: typing.Any) -> Path:
    """Write an inventory of two names for this one HAProxy; the second one cannot be reached."""
    variables = {
        "ansible_connection": CONNECTION,
        "ansible_python_interpreter": sys.executable,
        "app_name": "shop",
        "release_state_dir": str(own.state),
        "traffic_driver": "haproxy",
        "traffic_admin": str(own.master),
        "traffic_url": f"http://{own.users}",
        "traffic_preview": {"blue": f"http://{own.blue}", "green": f"http://{own.green}"},
        "haproxy_listen": own.public,
        "haproxy_command": own.command,
        **more,
    }
    hosts = {
        host: {
            "app_address": "127.0.0.1",
            "app_slots": {slot: {"port": int(address.rpartition(":")[2])} for slot, address in slots.items()},
        }
        for host, slots in own.servers.items()
    }
    lb = {"lb1": {}, "lb2": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}}
    inventory = {"all": {"vars": variables, "children": {"app": {"hosts": hosts}, "lb": {"hosts": lb}}}}
    path = own.directory / "hosts.yml"
    path.write_text(yaml.safe_dump(inventory))
    return path


def test_it_fails_until_what_it_says_is_done(haproxy_command: str, tmp_path: Path) -> None:
    own = RunningOwnHAProxy(haproxy_command, tmp_path)
    adopt = ROOT / "playbooks/adopt.yml"
    try:
        own.start()
        before = digest(own.etc)
        inventory, reports = inventory_of(own), tmp_path / "reports"
        reports.mkdir()
        said = " ".join(play(inventory, adopt, "-e", f"adopt_directory={reports}", code=2).split())
        assert (
            "Found: lb1 lacks files, map, configuration, global, running, preview blue, preview green, entry;" in said
        )
        assert "lb2 was not looked at (unreachable)" in said
        assert "missing global: Found: the section global does not load how requests wait" in said
        assert "    server app1_" in (reports / "lb1.txt").read_text()
        assert (digest(own.etc), own.state.exists()) == (before, False)

        play(inventory, write(tmp_path / "look.yml"), "--limit", "lb1")
        found = json.loads((tmp_path / "findings.json").read_text())
        make({one["name"]: finding(one) for one in found})
        own.reload()
        own.await_up()
        # In check mode as well: it only looks.
        clean = play(inventory, adopt, "--limit", "localhost,lb1", "--check")
        assert "lb1: nothing is missing" in clean
        own.switch("green", "none")
        assert own.get(address=own.users)[1] == "green"
        refused = play(inventory, adopt, "-e", "traffic_driver=caddy", code=2)
        assert "Found: traffic_driver caddy. Expected: haproxy or nginx" in " ".join(refused.split())
    finally:
        own.close()


def write(path: Path) -> Path:
    """Write the play that keeps what was found."""
    path.write_text(LOOK)
    return path


def finding(result: dict[str, typing.Any]) -> Finding:
    """Return a finding from the module's result."""
    edits = tuple(Edit(**{**edit, "lines": tuple(edit["lines"])}) for edit in result["edits"])
    return Finding(**{**result, "edits": edits})
