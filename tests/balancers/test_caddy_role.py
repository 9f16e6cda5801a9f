# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The role caddy and the module with its driver, as a playbook runs them."""

from __future__ import annotations

import json
import sys
import typing
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.balancers.playing import CONNECTION, configure_and_ask, play
from tests.balancers.running_caddy import RunningCaddy

ROOT = Path(__file__).resolve().parents[2]


class Site:
    """An inventory with the role's inputs, for a Caddy that runs as this user; the app's hosts are nowhere."""

    def __init__(self, directory: Path, **variables: typing.Any) -> None:
        """Write it."""
        directory.mkdir(exist_ok=True)
        self.directory, self.config, self.state = directory, directory / "caddy.json", directory / "state"
        known = {
            "ansible_connection": CONNECTION,
            "ansible_python_interpreter": sys.executable,
            "app_name": "shop",
            "app_slots": {"blue": {"port": 8001}, "green": {"port": 8002}},
            "release_state_dir": str(self.state),
            "traffic_driver": "caddy",
            "caddy_command": str(Path(sys.executable).with_name("caddy")),
            "caddy_user": "",
            "caddy_config_path": str(self.config),
            "caddy_access_log": str(directory / "log/access.log"),
            **variables,
        }
        hosts = {"app1": {"app_address": "127.0.0.2"}, "app2": {"app_address": "127.0.0.3"}}
        inventory = {"all": {"vars": known, "children": {"app": {"hosts": hosts}, "lb": {"hosts": {"lb1": {}}}}}}
        (directory / "hosts.yml").write_text(yaml.safe_dump(json.loads(json.dumps(inventory))))
        (directory / "play.yml").write_text(configure_and_ask("caddy"))

    def play(self, *arguments: str, code: int = 0, **variables: typing.Any) -> str:
        """Run the play and return what it says, in one line."""
        given = ("-e", json.dumps(variables), *arguments)
        said = play(self.directory / "hosts.yml", self.directory / "play.yml", *given, code=code)
        return " ".join(said.replace("\\n", " ").split())


def test_the_role_configures_and_never_touches_what_is_live(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.play("--check")
    assert (site.config.exists(), site.state.exists()) == (False, False)
    site.play()
    assert '"dial": "tcp/127.0.0.3:8002"' in site.config.read_text()
    assert (site.state / "seats/app2").read_text() == "127.0.0.3:8001"
    assert not (site.state / "live").exists()
    (site.state / "live").write_text("green")
    again = site.play()
    assert "live is <green>, asked at <http://127.0.0.1:2019>" in again
    assert "changed=0" in again
    before = site.config.read_text()
    site.play("--check", caddy_listen=":8090")
    assert site.config.read_text() == before


def test_a_configuration_that_caddy_would_not_start_with_is_not_put_in_place(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.config.write_text("before")
    assert "failed to validate" in site.play(code=2, caddy_listen=":99999")
    assert site.config.read_text() == "before"
    # Whoever starts Caddy otherwise may have it elsewhere.
    site.play(caddy_listen=":99999", caddy_command=str(tmp_path / "missing"))
    assert ":99999" in site.config.read_text()


@pytest.mark.parametrize(
    "variables",
    [
        {"caddy_app_name": "my shop"},
        {"caddy_app_group": "odd"},
        {"caddy_share_cookie": "a}b"},
        {"caddy_live_file": "/srv/{env.HOME}/live"},
        {"caddy_live_file": "live"},
        {"release_state_dir": "/srv/{file./etc/passwd}"},
    ],
    ids=str,
)
def test_what_cannot_stand_in_a_configuration_is_refused_before_anything_is_touched(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    site = Site(tmp_path)
    hosts = yaml.safe_load((tmp_path / "hosts.yml").read_text())
    hosts["all"]["children"]["odd"] = {"hosts": {"app}3": {"app_address": "127.0.0.4"}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts))
    before = sorted(tmp_path.iterdir())
    assert "nothing was touched" in site.play(code=2, **variables)
    assert [path for path in sorted(tmp_path.iterdir()) if path not in before and path.name != "severed"] == []


def test_a_running_caddy_loads_a_changed_configuration_only_if_it_is_wanted(tmp_path: Path) -> None:
    caddy = RunningCaddy(tmp_path)
    preview = {"blue": f"http://{caddy.blue}", "green": f"http://{caddy.green}"}
    inputs = {"traffic_admin": f"http://{caddy.admin}", "traffic_preview": preview, "caddy_listen": caddy.public}
    site = Site(tmp_path / "role", **inputs)

    def runs_with() -> typing.Any:
        with urllib.request.urlopen(f"http://{caddy.admin}/config/", timeout=10) as answer:
            return json.load(answer)

    try:
        caddy.start()
        before = runs_with()
        assert "Nothing was loaded." in site.play()
        assert runs_with() == before
        assert "It is loaded now" in site.play(caddy_reload=True)
        assert runs_with() == json.loads(site.config.read_text()) != before
        again = site.play(caddy_reload=True)
        assert "changed=0" in again
        assert "loaded" not in again
    finally:
        caddy.close()


def test_the_watch_reads_the_log_that_the_role_has_written(tmp_path: Path) -> None:
    site = Site(tmp_path)
    defaults = [str(ROOT / f"roles/{role}/defaults/main.yml") for role in ("traffic", "caddy", "watch")]
    say = {"name": "Say", "ansible.builtin.debug": {"msg": "<{{ watch_access_log }}> <{{ caddy_access_log }}>"}}
    ask = {"name": "Ask", "hosts": "lb", "gather_facts": False, "vars_files": defaults, "tasks": [say]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([ask]))
    assert "</var/log/caddy/access.log> </var/log/caddy/access.log>" in site.play(traffic_driver="caddy")
