"""A Caddy that the role has set up on a host with systemd, before two slots: refusals, switches, kills and a reboot."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.hosts import Fleet
from tests.systemd.answers import first_answer
from tests.systemd.conftest import PROVISION
from tests.systemd.host import ROOT, Host
from tests.witness.checker import judge, switches
from tests.witness.ledger import Record
from tests.witness.process import Witness

PATIENCE_SECONDS = 20.0
SYSTEMD_GIVES_UP_AFTER = 5
"""So many starts in a row, within ten seconds, where a unit does not say otherwise."""
SQUAT = "import socket, time; s = socket.create_server(('', 80)); time.sleep(600)"
RELOAD = "/usr/local/sbin/caddy-reload"
HELD_SECONDS = 5
"""For so long a load that was killed keeps clients out."""
GROUPS = """\
all:
  children:
    serving:
      hosts:
        app1:
"""
SWITCH = """\
- name: Switch
  hosts: lb
  become: true
  gather_facts: false
  tasks:
    - name: Switch
      baton.release.lb_switch:
        driver: caddy
        app_name: shop
        state_dir: /var/lib/baton/shop
        admin: http://127.0.0.1:2019
        preview: {blue: "http://127.0.0.1:8081", green: "http://127.0.0.1:8082"}
        slot: "{{ to }}"
      loop: "{{ slots }}"
      loop_control:
        loop_var: to
"""


class Balancer(Host):
    """The load balancer of a fleet, with Caddy and nothing else."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        super().__init__(fleet, "lb1", directory)
        self.url = fleet.url(self.name)
        (directory / "groups.yml").write_text(GROUPS)
        (directory / "switch.yml").write_text(SWITCH)

    def bare(self) -> None:
        """Have it as it is after the packages are installed; other tests may have used this host."""
        self.sh("systemctl", "disable", "--quiet", "--now", "caddy", "haproxy", "nginx")
        own = ("/etc/caddy", "/etc/systemd/system/caddy.service.d", "/var/log/caddy", RELOAD)
        self.sh("rm", "-rf", *own, "/var/lib/baton/shop", "/var/lib/closed")
        self.sh("systemctl", "daemon-reload")

    def ended(self, playbook: Path | str, *arguments: str, **variables: Any) -> tuple[int, str]:
        """Run a playbook on this host, as the user deploy; return its code, and in one line what it printed."""
        known = {"app_name": "shop", "traffic_driver": "caddy", "caddy_start": True, "caddy_app_group": "serving"}
        inventories = ("-i", str(self.fleet.inventory), "-i", str(self.directory / "groups.yml"))
        given = ("--limit", f"localhost,{self.name}", "-e", json.dumps({**known, **variables}), *arguments)
        command = [sys.executable, "-m", "ansible.cli.playbook", *inventories, *given, str(ROOT / playbook)]
        done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, text=True)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def play(self, playbook: Path | str, *arguments: str, **variables: Any) -> str:
        """Run a playbook that is to end well, and return what it printed."""
        code, said = self.ended(playbook, *arguments, **variables)
        assert code == 0, said
        return said

    def switch(self, *slots: str) -> None:
        """Make slots live, one after the other."""
        self.play(self.directory / "switch.yml", slots=slots)

    def caddy(self, what: str) -> str:
        """Return a property of Caddy's unit."""
        return self.sh("systemctl", "show", "--value", f"--property={what}", "caddy.service").strip()

    def connected(self, act: Callable[[], object]) -> list[float]:
        """Do something; return how long connecting took meanwhile, again and again (seconds)."""
        waited = []
        # Not at the published port, where the engine's proxy connects at once.
        address = (self.fleet.hosts[self.name].address, 80)
        with ThreadPoolExecutor(1) as beside:
            acting = beside.submit(act)
            while not acting.done():
                began = time.monotonic()
                socket.create_connection(address, timeout=PATIENCE_SECONDS).close()
                waited.append(time.monotonic() - began)
                time.sleep(0.02)
            acting.result()
        return waited

    def answer(self) -> str:
        """Return status and version of the first answer that a client gets."""
        try:
            return first_answer(self.url)
        except AssertionError as error:
            raise AssertionError(self.sh("journalctl", "-u", "caddy", "-n", "20", "-o", "cat")) from error


@pytest.fixture(scope="module")
def bare(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """A load balancer on which nothing is set up."""
    balancer = Balancer(fleet, tmp_path_factory.mktemp("balancer"))
    balancer.bare()
    yield balancer
    balancer.bare()


@pytest.fixture(scope="module")
def caddy(bare: Balancer, provisioned: Host) -> Iterator[Balancer]:
    """The same one, provisioned over what a package has started; v1 is live in blue, and v2 runs in green."""
    bare.bare()
    # As a umask of 077 has it.
    bare.sh("install", "--directory", "--mode=700", "/var/lib/baton/shop", "/var/lib/baton/shop/seats")
    # As Debian has it after the installation of the package.
    bare.sh("install", "-D", "/dev/stdin", "/etc/caddy/Caddyfile", given=":80\nrespond welcome\n")
    bare.sh("systemctl", "enable", "--quiet", "--now", "caddy")
    assert "It is loaded now" in bare.play(PROVISION, caddy_reload=True)
    for slot, version in (("blue", "v1"), ("green", "v2")):
        provisioned.serve(slot, version)
    bare.switch("blue")
    yield bare
    for slot in ("blue", "green"):
        provisioned.slot("absent", slot)


def test_check_mode_without_even_a_service_fails_at_nothing_and_writes_nothing(bare: Balancer) -> None:
    bare.begin()
    said = bare.play(PROVISION, "--check", "--diff", caddy_service="absent")
    assert "+ExecStart=caddy run --config /etc/caddy/caddy.json" in said
    assert bare.traces() == []


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"caddy_service": "absent"}, "LoadState=not-found for absent.service"),
        ({"caddy_config_path": "/etc/caddy/my site.json"}, "/etc/caddy/my site.json"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_touched(
    bare: Balancer, variables: dict[str, str], found: str
) -> None:
    bare.begin()
    code, said = bare.ended(PROVISION, **variables)
    assert (code, "nothing was touched" in said) == (2, True), said
    assert found in said
    assert bare.traces() == []


def test_a_state_directory_that_caddy_cannot_enter_is_refused_before_the_configuration(bare: Balancer) -> None:
    bare.sh("install", "--directory", "--mode=700", "/var/lib/closed")
    code, said = bare.ended(PROVISION, release_state_dir="/var/lib/closed/shop")
    assert (code, "cat: /var/lib/closed/shop/door: Permission denied" in said) == (2, True), said
    assert bare.sh("find", "/etc/caddy", "-type", "f") == ""
    assert bare.caddy("ActiveState") == "inactive"


def test_an_address_that_is_taken_is_noticed_and_caddy_comes_when_it_is_free(bare: Balancer) -> None:
    bare.sh("systemd-run", "--quiet", "--unit=squatter", "python3", "-c", SQUAT)
    try:
        code, said = bare.ended(PROVISION)
        assert (code, "See that Caddy answers at caddy_admin" in said) == (2, True), said
        deadline = time.monotonic() + PATIENCE_SECONDS
        while int(bare.caddy("NRestarts")) <= SYSTEMD_GIVES_UP_AFTER:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        bare.sh("systemctl", "stop", "squatter")
    assert bare.answer() == "503 None"


def test_switches_and_a_changed_configuration_lose_no_request(caddy: Balancer) -> None:
    pid = caddy.caddy("MainPID")
    with Witness(caddy.url, caddy.directory / "ledger.jsonl", rate=30) as witness:
        witness.wait_until_flowing()
        changes = {"caddy_maintenance_page": "<h1>Later</h1>", "caddy_command": "/usr/local/bin/caddy"}
        assert "Nothing was loaded" in caddy.play(PROVISION, **changes)
        assert caddy.caddy("NeedDaemonReload") == "no"
        caddy.switch("green", "blue", "green", "blue", "green")
        ledger = witness.stop()
    verdict = judge(ledger, expect_versions=["v1", "v2"])
    assert verdict.ok, verdict.reasons
    assert sum(one.flips for one in switches(ledger)) >= 5
    assert (caddy.caddy("MainPID"), caddy.answer()) == (pid, "200 v2")


def asked_again(lost: Record) -> bool:
    """Whether it was on a kept connection closed before a byte of the answer came: clients ask again (RFC 9112, 9.3.1)."""
    return lost.nth > 1 and lost.error_kind in ("closed-while-idle", "eof-before-status", "reset")


def test_while_a_configuration_is_loaded_nobody_connects_and_nobody_who_does_is_turned_away(caddy: Balancer) -> None:
    with Witness(caddy.url, caddy.directory / "loads.jsonl", rate=60) as witness:
        witness.wait_until_flowing()
        assert "It is loaded now" in caddy.play(PROVISION, caddy_maintenance_page="<h1>Soon</h1>", caddy_reload=True)
        # A client's host sends again after a second what was dropped meanwhile.
        waited = caddy.connected(lambda: caddy.sh("systemctl", "reload", "caddy"))
        ledger = witness.stop()
    assert max(waited) > 0.9
    assert [one for one in judge(ledger).failed_by_release if not asked_again(one)] == []
    assert "baton" not in caddy.sh("nft", "list", "tables")
    assert "<h1>Soon</h1>" in caddy.sh("curl", "--silent", "http://127.0.0.1:2019/config/").encode().decode(
        "unicode-escape"
    )


def test_a_load_that_is_killed_lets_clients_in_again(caddy: Balancer) -> None:
    loading = f"{RELOAD} & sleep 0.2; kill -KILL $!; nft list set inet baton_caddy held"
    assert "80 timeout 5s" in caddy.sh("sh", "-c", loading)
    began = time.monotonic()
    assert caddy.answer().startswith("200")
    assert time.monotonic() - began < HELD_SECONDS + PATIENCE_SECONDS
    assert "elements" not in caddy.sh("nft", "list", "set", "inet", "baton_caddy", "held")
    caddy.sh(RELOAD)
    assert "baton" not in caddy.sh("nft", "list", "tables")


def test_without_nftables_a_configuration_is_loaded_all_the_same_and_that_is_said(caddy: Balancer) -> None:
    said = caddy.sh(
        "sh", "-c", f"mkdir /tmp/only && ln -s /usr/local/bin/caddy /tmp/only/ && PATH=/tmp/only /bin/sh {RELOAD} 2>&1"
    )
    assert "install it" in said


def test_it_comes_back_with_what_is_live_after_a_kill_and_a_reboot(caddy: Balancer) -> None:
    caddy.switch("green")
    pid = caddy.caddy("MainPID")
    caddy.sh("systemctl", "kill", "--signal=KILL", "caddy")
    assert (caddy.answer(), caddy.caddy("MainPID") != pid, caddy.caddy("NRestarts")) == ("200 v2", True, "1")
    assert caddy.fleet.restart(caddy.name) == []
    assert caddy.answer() == "200 v2"
