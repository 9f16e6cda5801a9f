# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The door of the real nginx and of the real Caddy: users get a page, health and previews pass, and nobody is held."""

from __future__ import annotations

import http.client
import json
import time
import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.door import HELD, MAINTENANCE, Door
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

from tests.balancers.running import PAGE, Running, ask
from tests.balancers.running_caddy import RunningCaddy
from tests.balancers.running_nginx import RunningNginx
from tests.witness.process import Witness

CLOSED = Door(MAINTENANCE, retry_after=120)


@pytest.fixture(params=["nginx", "caddy"])
def balancer(request: pytest.FixtureRequest, tmp_path: Path) -> typing.Iterator[RunningNginx | RunningCaddy]:
    """Return one that runs, of which blue is live."""
    running: RunningNginx | RunningCaddy = (
        RunningNginx(request.getfixturevalue("nginx_command"), tmp_path)
        if request.param == "nginx"
        else RunningCaddy(tmp_path)
    )
    try:
        running.start()
        running.await_up()
        running.switch("blue", "none")
        yield running
    finally:
        running.close()


def logged(balancer: Running) -> list[dict[str, typing.Any]]:
    """Return what the access log says of users' requests that got 503."""
    lines = (balancer.directory / "access.log").read_text().splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return [one for one in entries if one.get("entry") == "public" and str(one.get("status")) == "503"]


def test_maintenance_shows_users_the_page_while_health_and_previews_pass(balancer: RunningNginx | RunningCaddy) -> None:
    kept = http.client.HTTPConnection(balancer.public, timeout=10)
    assert ask(kept)[:2] == (200, "blue")
    assert balancer.observe()["door"] == {"state": "open", "hold_limit": 0, "retry_after": 0, "unsettled": ""}
    result = balancer.move_door(CLOSED)
    assert (result["changed"], result["door"]["state"], result["live"]) == (True, "maintenance", "blue")
    assert ask(kept)[0] == 503  # at once, also on a connection that is kept alive
    assert balancer.page() == (503, "120", PAGE)
    assert (ask(kept, method="POST", body=b"{}")[0], balancer.page("/health/readyx")[0]) == (503, 503)
    assert {balancer.page(path)[0] for path in ("/health/ready", "/health/live")} == {200}
    assert [balancer.get(address=address)[:2] for address in (balancer.blue, balancer.green)] == [
        (200, "blue"),
        (200, "green"),
    ]
    assert not balancer.move_door(CLOSED)["changed"]
    assert balancer.move_door(Door(MAINTENANCE, retry_after=5))["changed"]
    assert balancer.page()[1] == "5"
    # Behind it, what is live can be another one; and for the watch the page is no answer of a slot.
    assert balancer.switch("green", "blue")["door"]["state"] == "maintenance"
    assert (balancer.page()[0], balancer.get("/health/ready")[1]) == (503, "green")
    assert {one.get("slot") for one in logged(balancer)} in ({None}, {""})
    assert balancer.move_door(Door())["changed"]
    assert (balancer.get()[:2], ask(kept)[:2]) == ((200, "green"), (200, "green"))
    assert not balancer.move_door(Door())["changed"]


def test_the_door_survives_a_kill_a_restart_and_a_reload(balancer: RunningNginx | RunningCaddy) -> None:
    for door in (CLOSED, Door()):
        balancer.move_door(door)
        balancer.kill()
        assert balancer.balancer().door() == door
        balancer.start()
        balancer.await_up()
        assert (balancer.page()[0], balancer.move_door(door)["changed"]) == (503 if door == CLOSED else 200, False)
        if isinstance(balancer, RunningNginx):
            balancer.reload()
            assert (balancer.page()[0], balancer.move_door(door)["changed"]) == (503 if door == CLOSED else 200, False)


def test_nothing_but_the_page_is_ever_answered_in_place_of_the_app(
    balancer: RunningNginx | RunningCaddy, tmp_path: Path
) -> None:
    with Witness(balancer.url, tmp_path / "ledger", rate=50, posts=[("/orders", "{}")], connections=8) as witness:
        witness.wait_until_flowing()
        for _again in range(3):
            balancer.move_door(CLOSED)
            time.sleep(0.3)
            balancer.move_door(Door())
            time.sleep(0.3)
        ledger = witness.stop()
    assert {record.status for record in ledger} == {200, 503}


def test_an_older_lease_and_check_mode_move_no_door(balancer: RunningNginx | RunningCaddy) -> None:
    before = sorted(balancer.state.rglob("*"))
    result = balancer.move_door(CLOSED, token=3, check_mode=True)
    assert (result["changed"], result["door"]["state"]) == (True, "maintenance")
    assert (sorted(balancer.state.rglob("*")), balancer.get()[0]) == (before, 200)
    balancer.move_door(CLOSED, token=3)
    for check_mode in (True, False):
        with pytest.raises(BatonError, match="has seen lease 3"):
            balancer.move_door(Door(), token=2, check_mode=check_mode)
    assert balancer.page()[0] == 503


def test_what_it_cannot_do_is_refused_before_anything_is_touched(balancer: RunningNginx | RunningCaddy) -> None:
    before = sorted(balancer.state.rglob("*"))
    for check_mode in (True, False):
        with pytest.raises(BatonError, match=r"cannot hold requests without a reload.*nothing was touched"):
            balancer.move_door(Door(HELD, 30, 60), check_mode=check_mode)
    # With the configuration from before there were doors, users would go on being let in.
    config = balancer.directory / ("shop.conf" if isinstance(balancer, RunningNginx) else "caddy.json")
    config.write_text(config.read_text().replace('"door":true', '"x":true').replace('"shop_door"', '"shop_x"'))
    balancer.kill()
    balancer.start()
    balancer.await_up()
    found = "does not know how to show a maintenance page|knows no door"
    for check_mode in (True, False):
        with pytest.raises(BatonError, match=found):
            balancer.move_door(CLOSED, check_mode=check_mode)
    assert [path for path in sorted(balancer.state.rglob("*")) if path.name != "fence.lock"] == [
        path for path in before if path.name != "fence.lock"
    ]
    assert not balancer.move_door(Door())["changed"]


def test_one_that_does_not_run_begins_with_the_door_that_it_got_meanwhile(
    balancer: RunningNginx | RunningCaddy,
) -> None:
    for door, status in ((CLOSED, 503), (Door(), 200)):
        balancer.kill()
        result = balancer.move_door(door)
        assert (result["changed"], result["answering"], result["door"]["state"]) == (True, False, door.state)
        balancer.start()
        balancer.await_up()
        assert (balancer.page()[0], balancer.move_door(door)["changed"]) == (status, False)


def test_a_door_that_makes_no_sense_is_named_and_mended(balancer: RunningNginx | RunningCaddy) -> None:
    if isinstance(balancer, RunningNginx):
        (balancer.state / "nginx.door").symlink_to(balancer.directory)
    else:
        (balancer.state / "door").write_text("ajar")
    told = balancer.observe()
    assert (told["live"], told["door"]["state"]) == ("blue", "open")
    assert "which somebody else" in told["door"]["unsettled"]
    assert balancer.move_door(CLOSED)["changed"]
    assert (balancer.page()[0], balancer.balancer().door()) == (503, CLOSED)
    balancer.move_door(Door())
    assert (balancer.page()[0], balancer.balancer().door()) == (200, Door())


def test_nginx_that_cannot_see_the_page_is_not_told_to_show_it(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    (nginx.state / "nginx.page.html").unlink()
    with pytest.raises(BatonError, match=r"lead to maintenance\.120; nginx, which follows them, finds open"):
        nginx.move_door(CLOSED)
    assert nginx.get()[0] == 200
    (nginx.state / "nginx.page.html").write_text(PAGE)
    nginx.move_door(CLOSED)
    (nginx.state / "nginx.page.html").unlink()
    assert "the page is missing" in nginx.balancer().door().unsettled
