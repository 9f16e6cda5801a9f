# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""maintenance.yml and status.yml with two real HAProxys, as a person runs them."""

from __future__ import annotations

import json
import re
import sys
import typing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import lease
from ansible_collections.baton.release.plugins.module_utils.door import HELD, MAINTENANCE, Door

from tests.balancers.playing import CONNECTION, played
from tests.balancers.running import PAGE
from tests.balancers.running_haproxy import RunningHAProxy


class Site:
    """Two load balancers, lb1 and lb2, and an app host that is only asked for the lease."""

    def __init__(self, directory: Path, balancers: dict[str, RunningHAProxy]) -> None:
        self.balancers, self.directory = balancers, directory
        self.state = directory / "state_host"
        variables = {
            "ansible_connection": CONNECTION,
            "ansible_python_interpreter": sys.executable,
            "app_name": "shop",
            "app_command": ["true"],
            "app_root": f"{directory}/{{{{ inventory_hostname }}}}/shop",
            "app_artifact_dir": str(directory),
            "app_supervisor_config": str(directory / "supervisord.conf"),
            "database_migrate": False,
            "release_state_dir": str(self.state),
            "traffic_driver": "haproxy",
        }
        hosts = {name: self._balancer(one) for name, one in balancers.items()}
        children = {"lb": {"hosts": hosts}, "app": {"hosts": {"app1": {"app_address": "127.0.0.2"}}}}
        inventory = {"all": {"vars": variables, "children": children}}
        (directory / "hosts.json").write_text(json.dumps(inventory))

    def _balancer(self, one: RunningHAProxy) -> dict[str, typing.Any]:
        return {
            "release_state_dir": str(one.state),
            "traffic_admin": str(one.master),
            "traffic_url": one.url,
            "traffic_preview": {"blue": f"http://{one.blue}", "green": f"http://{one.green}"},
        }

    def play(self, playbook: str, *arguments: str) -> tuple[int, str]:
        """Run a playbook; return its exit code and what it said, its white space made single."""
        ended = played(self.directory / "hosts.json", f"playbooks/{playbook}.yml", *arguments)
        return ended.returncode, re.sub(r"(\s|\\n)+", " ", ended.stdout + ended.stderr)

    def must(self, playbook: str, *arguments: str) -> str:
        """Run a playbook that has to succeed."""
        code, said = self.play(playbook, *arguments)
        assert code == 0, said
        return said

    def doors(self) -> list[Door]:
        """Return the doors as the load balancers themselves have them."""
        return [one.balancer().door() for one in self.balancers.values()]

    def files(self) -> dict[Path, str]:
        """Return every file that is not a lock."""
        roots = [self.state, *(one.state for one in self.balancers.values())]
        return {
            path: path.read_text()
            for root in roots
            for path in root.rglob("*")
            if path.is_file() and path.suffix != ".lock"
        }


@pytest.fixture
def site(haproxy_command: str, tmp_path: Path) -> typing.Iterator[Site]:
    """Return a site of which blue is live."""
    balancers = {}
    try:
        for name in ("lb1", "lb2"):
            (tmp_path / name).mkdir()
            balancers[name] = RunningHAProxy(haproxy_command, tmp_path / name)
            balancers[name].start()
        for one in balancers.values():
            one.await_up()
            one.switch("blue", "none")
        yield Site(tmp_path, balancers)
    finally:
        for one in balancers.values():
            one.close()


def changed(said: str) -> set[str]:
    return set(re.findall(r"changed=(\d+)", said))


def test_on_and_off_at_every_load_balancer_and_a_release_is_refused_meanwhile(site: Site) -> None:
    first, _second = site.balancers.values()
    before = site.files()
    said = site.must("maintenance", "--check", "-e", "maintenance=true")
    assert "users get the maintenance page at lb1, lb2" in said
    assert (site.files(), site.doors()) == (before, [Door(), Door()])
    site.must("maintenance", "-e", "maintenance=true", "-e", "maintenance_retry_after=90")
    assert site.doors() == [Door(MAINTENANCE, retry_after=90)] * 2
    assert {one.get()[0] for one in site.balancers.values()} == {503}
    assert first.get("/health/ready")[0] == 200
    again = site.must("maintenance", "-e", "maintenance=true", "-e", "maintenance_retry_after=90")
    assert "that was so before" in again
    assert changed(again) == {"0"}
    status = site.must("status")
    assert "door lb1: the maintenance page is shown (Retry-After 90) lb2: the maintenance page" in status
    code, said = site.play("release", "-e", "release_version=v1.0.0", "-e", f"release_sha256={'a' * 64}")
    assert code != 0
    assert "the door is not open at lb1 (maintenance), lb2 (maintenance)" in said
    assert "run maintenance.yml with maintenance=false first; nothing was touched" in said
    site.must("maintenance", "-e", '{"maintenance": false}')
    assert (site.doors(), {one.get()[0] for one in site.balancers.values()}) == ([Door(), Door()], {200})
    assert " door " not in site.must("status").partition("PLAY RECAP")[0].partition("shop")[2]
    assert not lease.gather(site.state)["held"]


def test_requests_that_the_playbook_holds_wait_until_it_lets_them_go(site: Site) -> None:
    first = site.balancers["lb1"]
    site.must("maintenance", "-e", "maintenance=hold", "-e", "maintenance_hold_limit=120")
    assert site.doors() == [Door(HELD, hold_limit=120, retry_after=60)] * 2
    with ThreadPoolExecutor(4) as pool:
        held = [pool.submit(first.page) for _ in range(4)]
        assert "door lb1: requests are held for up to 120 s each" in site.must("status")
        assert not any(one.done() for one in held)
        site.must("maintenance", "-e", "maintenance=false")
        assert {one.result(10)[0] for one in held} == {200}


def test_while_a_release_holds_the_lock_the_door_stays(site: Site) -> None:
    held = lease.acquire(site.state, owner="somebody", reason="release v2", ttl=300)
    assert held
    code, said = site.play("maintenance", "-e", "maintenance=true")
    assert code != 0
    assert "held by somebody" in said
    assert site.doors() == [Door(), Door()]
    assert lease.gather(site.state)["owner"] == "somebody"


def test_one_that_cannot_do_it_keeps_all_as_they_are(site: Site) -> None:
    _first, second = site.balancers.values()
    second.configure(haproxy_hold=False)
    second.reload()
    second.await_up()
    code, said = site.play("maintenance", "-e", "maintenance=hold")
    assert code != 0
    assert "does not know how to hold requests" in said
    assert "Nothing was touched on any load balancer" in said
    assert site.doors() == [Door(), Door()]
    assert not (site.state / "lease.json").exists()


def test_two_that_disagree_are_shown_and_mended(site: Site) -> None:
    site.balancers["lb2"].move_door(Door(MAINTENANCE, retry_after=60))
    assert (
        "door lb1: the door is open lb2: the maintenance page is shown (Retry-After 60) the load balancers disagree"
        in site.must("status")
    )
    site.must("maintenance", "-e", "maintenance=true")
    assert site.doors() == [Door(MAINTENANCE, retry_after=60)] * 2


def test_a_load_balancer_that_is_lost_keeps_no_other_from_showing_the_page(site: Site) -> None:
    inventory = json.loads((site.directory / "hosts.json").read_text())
    inventory["all"]["children"]["lb"]["hosts"]["lb2"] |= {
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": 1,
    }
    (site.directory / "hosts.json").write_text(json.dumps(inventory))
    code, said = site.play("maintenance", "-e", "maintenance=true")
    assert code != 0
    assert "could not be reached: lb2" in said
    assert [door.state for door in site.doors()] == ["maintenance", "open"]
    assert not lease.gather(site.state)["held"]


@pytest.mark.parametrize("given", [[], ["-e", "maintenance=maybe"]])
def test_what_is_wanted_has_to_be_said(site: Site, given: list[str]) -> None:
    code, said = site.play("maintenance", *given)
    assert code != 0
    assert "Expected: true (users get the maintenance page), hold" in said
    assert site.doors() == [Door(), Door()]


def test_settings_that_make_no_sense_are_refused(site: Site) -> None:
    before = site.files()
    code, said = site.play("maintenance", "-e", "maintenance=hold", "-e", "maintenance_hold_limit=0")
    assert code != 0
    assert "maintenance_hold_limit: found" in said
    assert site.files() == before


def test_the_page_of_the_role_is_the_one_that_users_get(site: Site) -> None:
    site.must("maintenance", "-e", "maintenance=true")
    assert {one.page() for one in site.balancers.values()} == {(503, "60", PAGE)}
