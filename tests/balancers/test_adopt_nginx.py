# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the check says of nginxes that people have configured themselves; and that what it says is enough, and nothing too much."""

from __future__ import annotations

import dataclasses
import re
import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.adopt import UNKNOWN
from ansible_collections.baton.release.plugins.module_utils.door import MAINTENANCE, OPEN, Door

from tests.balancers.adopting import check, digest, lacking, make
from tests.balancers.running_own_nginx import MAIN, SITE, RunningOwnNginx

WAYS = {"preview blue", "preview green", "entry"}


@pytest.fixture
def own(nginx_command: str, tmp_path: Path) -> typing.Iterator[RunningOwnNginx]:
    """Return an nginx of somebody's own; it is not started yet."""
    running = RunningOwnNginx(nginx_command, tmp_path)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def adopted(own: RunningOwnNginx) -> RunningOwnNginx:
    """Return one that has all that is needed, and runs."""
    make(own.check())
    own.start()
    found = own.check()
    assert lacking(found) == set(), found
    return own


def test_what_it_says_is_enough_and_interrupts_nobody(own: RunningOwnNginx) -> None:
    own.start()
    found = own.check()
    assert lacking(found) == {"files", "configuration", "running"} | WAYS
    assert found["version"].state == "ok"
    # First all but the way in, so that those who come now are served as before.
    make(found, without={"entry"})
    assert own.check()["running"].fix == "check the files (nginx -t), and reload nginx"
    own.load()
    found = own.check()
    assert lacking(found) == {"entry"}
    assert "do it once a slot is live" in found["entry"].fix
    own.switch("blue", "none")
    assert own.get(address=own.users)[1] == "before"
    make(found)
    own.load()
    assert lacking(own.check()) == set()
    assert own.get(address=own.users)[1] == "blue"
    assert own.page_at("/other") == (200, "other")


def test_all_that_lb_switch_does_works_there_and_survives(adopted: RunningOwnNginx) -> None:
    users = adopted.users
    adopted.switch("blue", "none")
    adopted.switch("green", "blue", drain=5)
    assert {adopted.get(address=users)[1] for _ in range(8)} == {"green"}
    adopted.switch("mixed", "green", seats={"app1": "blue"})
    assert {adopted.get(address=users)[1] for _ in range(48)} == {"blue", "green"}
    adopted.switch("blue", "mixed")
    adopted.move_door(Door(MAINTENANCE, retry_after=7))
    adopted.kill()
    adopted.start()
    assert adopted.page_at("/") == (503, "<h1>Back soon</h1>\n")
    adopted.move_door(Door(OPEN))
    assert adopted.get(address=users)[1] == "blue"
    assert adopted.check()["lb_switch"].found == "it can switch this nginx; live is blue"


def test_it_changes_nothing(own: RunningOwnNginx) -> None:
    own.start()
    before = digest(own.directory)
    own.check()
    assert digest(own.directory) == before
    assert not own.state.exists()
    make(own.check(), without={"entry"})
    own.load()
    own.switch("blue", "none")
    before = digest(own.etc, own.state)
    workers = own.workers()
    assert lacking(own.check()) == {"entry"}
    assert (digest(own.etc, own.state), own.workers()) == (before, workers)


def test_another_configuration_than_the_inventory_says(adopted: RunningOwnNginx) -> None:
    servers = {**adopted.servers, "app1": {**adopted.servers["app1"], "blue": "127.0.0.1:9"}}
    adopted.changes = {"nginx_servers": servers}
    found = adopted.check()
    assert lacking(found) == {"configuration", "running"}
    assert [edit.where for edit in found["configuration"].edits] == ["in place of all that is in it"]
    make(found)
    assert lacking(adopted.check()) == {"running"}
    adopted.load()
    assert lacking(adopted.check()) == set()


def test_a_file_that_nothing_includes(own: RunningOwnNginx) -> None:
    own.write(main=re.sub(r"    include .*conf\.d.*\n", "", MAIN))
    own.start()
    found = own.check()
    assert "included" in lacking(found)
    make(found)
    own.load()
    assert lacking(own.check()) == set()


def test_addresses_that_somebody_has(own: RunningOwnNginx) -> None:
    own.start()
    port = own.users.rpartition(":")[2]
    found = own.check(nginx_listen=f":{port}")
    assert f":{port} (public) by the server at {own.site}, line 2" in found["addresses"].found
    assert found["configuration"].edits == found["entry"].edits == ()
    # Without a default server of its own on that port, nginx shares it by name.
    own.write(site=SITE.replace(" default_server", ""))
    assert own.check(nginx_listen=f":{port}")["addresses"].state == "ok"
    found = own.check(nginx_admin=own.web.address)
    assert f"{own.web.address} (admin), which something answers at" in found["addresses"].found


def test_what_answers_elsewhere_is_another_app(adopted: RunningOwnNginx) -> None:
    found = check("nginx", dataclasses.replace(adopted.wanted(), state_dir=adopted.etc))
    assert f"is the listener of shop with the links in {adopted.state}" in found["running"].found
    assert "lb_switch" in lacking(found)


def test_an_nginx_that_does_not_run(own: RunningOwnNginx) -> None:
    found = own.check()
    assert found["entry"].state == found["preview blue"].state == UNKNOWN
    assert "does not answer" in found["running"].found
    assert [edit.at for edit in found["entry"].edits] == [9]


def test_several_sites_are_left_to_their_owner(own: RunningOwnNginx) -> None:
    own.write(site=SITE + SITE.replace(" default_server", "").replace("shop.example.com", "other.example.com"))
    own.start()
    found = own.check()
    assert found["entry"].edits == ()
    assert "have the server block that takes users' requests pass those for shop on to" in found["entry"].fix
