"""host_parts and the modules that it does, called by a playbook: what comes back of what fails, of who is gone, and of what is secret."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]
SECRET = "Bearer 5b8c-0f1e"  # noqa: S105  # nobody's
NAMES = ("seen", "read", "asked", "misspelt", "unknown")
TELL = f"{{{{ {{{', '.join(f'{name!r}: {name} | default({{}})' for name in NAMES)}}} | to_json }}}}"


@pytest.fixture(name="told", scope="module", params=["with pipelining", "without pipelining"])
def _told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what each host has registered, and the whole output of the playbook, with all details, as ``output``."""
    pipelining = str(request.param == "with pipelining")
    directory = tmp_path_factory.mktemp("parts")
    journal = {"state": "gathered", "state_dir": str(directory)}
    health = {
        "endpoints": [{"name": "app1", "url": "http://127.0.0.1:1/", "headers": {"Authorization": SECRET}}],
        "deadline": 0.1,
        "interval": 0.05,
    }
    parts = {
        "here": {
            "release_journal": {
                **journal,
                "state": "present",
                "token": 3,
                "event": "started",
                "record": {"version": "v1"},
            },
            "health_wait": health,
            "app_slot": {"no_such_option": 1},
        },
        "gone": {"release_journal": journal, "release_lock": journal},
        "apart": {"release_journal": {}},
    }
    here = {"when": "inventory_hostname == 'here'"}
    tell = {"content": TELL, "dest": f"{directory}/{{{{ inventory_hostname }}}}.json"}
    tasks = [
        {"baton.release.host_parts": "{{ parts[inventory_hostname] }}", "register": "seen"},
        {"baton.release.release_journal": journal, "register": "read", **here},
        {"baton.release.health_wait": health, "register": "asked", "failed_when": False, **here},
        {"baton.release.health_wait": {**health, "dedline": 5}, "register": "misspelt", "failed_when": False, **here},
        {
            "block": [{"baton.release.host_parts": {"lb_swich": {}}, "register": "unknown"}],
            "rescue": [{"ansible.builtin.debug": {}}],
            "any_errors_fatal": False,
            **here,
        },
        {"ansible.builtin.copy": tell, "delegate_to": "localhost"},
    ]
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {"here": local, "apart": local, "gone": {"ansible_host": "127.0.0.1", "ansible_port": 1}}
    (directory / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    play = {"hosts": "all", "gather_facts": False, "any_errors_fatal": True, "vars": {"parts": parts}, "tasks": tasks}
    (directory / "play.json").write_text(json.dumps([play]))
    command = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "-vvvv",
        "-i",
        f"{directory}/hosts.json",
        f"{directory}/play.json",
    ]
    # The newest Ansible shows what a module was given only if it is told to.
    shown = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_INJECT_INVOCATION": "True"}
    variables = {**os.environ, **shown, "ANSIBLE_PIPELINING": pipelining}
    played = subprocess.run(
        command,
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    return {**{host: json.loads((directory / f"{host}.json").read_text()) for host in hosts}, "output": played.stdout}


def test_each_part_says_what_it_came_to(told: dict[str, Any]) -> None:
    seen = told["here"]["seen"]
    assert (seen["changed"], seen["failed"], seen["release_journal"]["changed"]) == (True, False, True)
    assert [run["version"] for run in seen["release_journal"]["runs"]] == ["v1"]


def test_a_part_that_fails_fails_nothing_else(told: dict[str, Any]) -> None:
    seen = told["here"]["seen"]
    assert seen["health_wait"]["failed"]
    assert "app1 refuses connections" in seen["health_wait"]["msg"]
    assert seen["app_slot"]["failed"]
    assert "no_such_option" in seen["app_slot"]["msg"]


def test_a_part_that_there_is_not_is_no_answer_but_an_error(told: dict[str, Any]) -> None:
    unknown = told["here"]["unknown"]
    assert "lb_swich" in unknown["msg"]
    assert "lb_swich" not in unknown


def test_of_a_host_that_does_not_answer_every_part_says_so(told: dict[str, Any]) -> None:
    seen = told["gone"]["seen"]
    for part in ("release_journal", "release_lock"):
        assert seen[part]["unreachable"]
        assert "Connection refused" in seen[part]["msg"]
    assert {"unreachable", "failed"}.isdisjoint(name for name, said in seen.items() if said)
    assert "hidden due to" not in told["output"]


def test_a_host_without_a_part_is_left_alone(told: dict[str, Any]) -> None:
    assert told["apart"]["seen"]["skipped"]


def test_a_module_returns_itself_what_it_returns(told: dict[str, Any]) -> None:
    """As without the others: with its own options, and without a trace of what it was a part of."""
    read = told["here"]["read"]
    assert [run["version"] for run in read["runs"]] == ["v1"]
    assert {"release_journal", "release_lock"}.isdisjoint(read)
    assert told["here"]["asked"]["msg"].startswith("Found: ")
    options = re.findall(r"invocation:\n +module_args:\n +(\w+):", told["output"])
    assert options[:3] == ["app_slot", "state", "deadline"]


def test_a_secret_is_shown_nowhere_also_where_an_option_is_wrong(told: dict[str, Any]) -> None:
    assert "dedline" in told["here"]["misspelt"]["msg"]
    assert SECRET not in json.dumps(told["here"])
    assert SECRET not in told["output"]
    assert told["output"].count("Authorization: VALUE_SPECIFIED_IN_NO_LOG_PARAMETER") == 3
