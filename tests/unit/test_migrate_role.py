# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the role migrate hands on to db_migrate: the user of the app where systemd runs it, and the options of one driver only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HOSTS: dict[str, dict[str, Any]] = {
    "embedded": {"app_runtime": "supervisor"},
    "usual": {"app_runtime": "systemd", "database_driver": "django", "database_django_manage": "src/manage.py"},
    "named": {
        "app_runtime": "systemd",
        "provision_user": "web",
        "database_driver": "knex",
        "database_knex_node": "/opt/node",
    },
    "rooted": {"app_runtime": "systemd", "database_run_as": "", "database_driver": "command"},
}
PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        "vars": {
            "plan_made": {
                "plan": {
                    "action": "release",
                    "mode": "blue_green",
                    "version": "v1",
                    "from_version": "",
                    "target_slot": "blue",
                }
            },
            "app_name": "shop",
            "app_command": ["x"],
        },
        "tasks": [
            {"ansible.builtin.include_role": {"name": "baton.release.migrate", "rolespec_validate": False}},
        ],
    }
]


@pytest.mark.slow
def test_the_role_hands_on_whom_the_tool_runs_as_and_the_options_of_its_driver(tmp_path: Path) -> None:
    commands = {"status": ["bin/status"], "up": ["bin/up"]}
    HOSTS["rooted"]["database_commands"] = commands
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    common = {**local, "app_root": f"{tmp_path}/shop", "release_state_dir": f"{tmp_path}/state"}
    inventory = {"all": {"hosts": {name: {**common, **own} for name, own in HOSTS.items()}}}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    (tmp_path / "play.yml").write_text(yaml.safe_dump(PLAY), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), str(tmp_path / "play.yml"), "--check", "-vvv"]
    done = subprocess.run(
        [*command, "-i", str(tmp_path / "inventory.yml")],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"^ok: \[(\w+)\] => (\{\n.*?\n\})$", done.stdout, re.MULTILINE | re.DOTALL)
    given = {host: json.loads(text)["invocation"]["module_args"] for host, text in found if "module_args" in text}
    names = ("user", "python", "django_manage", "knex_node", "commands")
    told = {host: [one[name] for name in names] for host, one in given.items()}
    no_others = {"up_to": None, "down": None, "version": None}
    assert told == {
        "embedded": [None, "/usr/bin/python3", None, None, None],
        "usual": ["shop", "/usr/bin/python3", "src/manage.py", None, None],
        "named": ["web", None, None, "/opt/node", None],
        "rooted": [None, None, None, None, {**commands, **no_others}],
    }
