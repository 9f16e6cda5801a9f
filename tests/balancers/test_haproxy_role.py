# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The role haproxy and the module with its driver, as a playbook runs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from tests.balancers.playing import CONNECTION, configure_and_ask, play


def test_the_role_configures_and_never_touches_what_is_live(haproxy_command: str, tmp_path: Path) -> None:
    state, config = tmp_path / "state", tmp_path / "haproxy.cfg"
    site = (tmp_path / "hosts.yml", tmp_path / "play.yml")
    variables = {
        "ansible_connection": CONNECTION,
        "ansible_python_interpreter": sys.executable,
        "app_name": "shop",
        "app_slots": {"blue": {"port": 8001}, "green": {"port": 8002}},
        "release_state_dir": str(state),
        "traffic_driver": "haproxy",
        "haproxy_command": haproxy_command,
        "haproxy_config_path": str(config),
        "haproxy_socket": str(tmp_path / "s.sock"),
        "haproxy_user": "",
        "haproxy_group": "",
    }
    hosts = {"app1": {"app_address": "127.0.0.2"}, "app2": {"app_address": "127.0.0.3"}}
    inventory = {"all": {"vars": variables, "children": {"app": {"hosts": hosts}, "lb": {"hosts": {"lb1": {}}}}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(json.loads(json.dumps(inventory))))
    (tmp_path / "play.yml").write_text(configure_and_ask("haproxy"))
    assert "was not reloaded" in play(*site)
    assert "server app2_green_8002 127.0.0.3:8002 track shop_green/app2_8002" in config.read_text()
    assert (state / "haproxy.map").read_text() == "shop none\n"
    (state / "haproxy.map").write_text("shop green\n")
    again = play(*site)
    assert "live is <green>, asked at </run/haproxy-master.sock>" in again
    assert "changed=0" in again
    before = config.read_text()
    play(*site, "--check", "-e", "haproxy_listen=:8090")
    assert config.read_text() == before
    # The page is a file of its own, named by what it holds; one that is too large is refused before anything is written.
    (page,) = state.glob("haproxy.page.*.html")
    assert "<h1>Back soon</h1>" in page.read_text()
    assert f"file {page} hdr Retry-After" in before
    large = json.dumps({"traffic_maintenance_page": "x" * 9000})
    assert "Found: a maintenance page of 9000 bytes" in " ".join(play(*site, "-e", large, code=2).split())
    assert (list(state.glob("haproxy.page.*.html")), config.read_text()) == ([page], before)
