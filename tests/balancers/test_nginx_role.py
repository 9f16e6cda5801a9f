# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The role nginx and the module with its driver, as a playbook runs them, beside a configuration that is there already."""

from __future__ import annotations

import json
import os
import socket
import sys
import typing
from pathlib import Path

import yaml

from tests.balancers.playing import CONNECTION, configure_and_ask, play
from tests.balancers.running_nginx import RunningNginx

ROOT = Path(__file__).resolve().parents[2]


class Site:
    """A configuration like Debian's in ``directory``, and an inventory with the role's inputs."""

    def __init__(self, directory: Path, command: str, **variables: typing.Any) -> None:
        """Write them; the app's hosts are nowhere."""
        self.directory, self.etc = directory, directory / "etc"
        for name in ("conf.d", "sites-available", "sites-enabled"):
            (self.etc / name).mkdir(parents=True)
        (self.etc / "nginx.conf").write_text(
            f"{'user root;' if os.geteuid() == 0 else ''} pid {directory}/nginx.pid; error_log {directory}/error.log;\nevents {{}}\n"
            f"http {{ access_log off; include {self.etc}/conf.d/*.conf; include {self.etc}/sites-enabled/*; }}\n"
        )
        self.config = self.etc / "conf.d/shop.conf"
        self.variables: dict[str, typing.Any] = {
            "ansible_connection": CONNECTION,
            "ansible_python_interpreter": sys.executable,
            "app_name": "shop",
            "app_slots": {"blue": {"port": 8001}, "green": {"port": 8002}},
            "release_state_dir": str(directory / "state"),
            "traffic_driver": "nginx",
            "nginx_command": command,
            "nginx_main_config": str(self.etc / "nginx.conf"),
            "nginx_config_path": str(self.config),
            "nginx_removed_paths": [str(self.etc / "sites-enabled/default")],
            "nginx_access_log": str(directory / "shop.log"),
            **variables,
        }
        hosts = {"app1": {"app_address": "127.0.0.2"}, "app2": {"app_address": "127.0.0.3"}}
        inventory = {
            "all": {"vars": self.variables, "children": {"app": {"hosts": hosts}, "lb": {"hosts": {"lb1": {}}}}}
        }
        (directory / "hosts.yml").write_text(yaml.safe_dump(json.loads(json.dumps(inventory))))
        (directory / "play.yml").write_text(configure_and_ask("nginx"))

    def welcome(self, address: str) -> None:
        """Have the distribution's page on an address, as its default server."""
        page = self.etc / "sites-available/default"
        page.write_text(f"server {{ listen {address} default_server; return 200 welcome; }}\n")
        (self.etc / "sites-enabled/default").symlink_to(page)

    def play(self, *arguments: str, code: int = 0) -> str:
        """Run the play and return what it says."""
        own = {"TMPDIR": str(self.directory)}
        return play(self.directory / "hosts.yml", self.directory / "play.yml", *arguments, code=code, **own)


def test_the_role_configures_and_never_touches_what_is_live(nginx_command: str, tmp_path: Path) -> None:
    site = Site(tmp_path, nginx_command)
    site.welcome("80")
    assert "was not reloaded" in site.play("--check")
    assert not site.config.exists()
    # Its own default server could not be beside that one.
    assert "was not reloaded" in site.play()
    assert not (site.etc / "sites-enabled/default").exists()
    assert (site.etc / "sites-available/default").exists()
    assert "server 127.0.0.3:8002 max_fails" in site.config.read_text()
    live = tmp_path / "state/nginx.live"
    assert not live.exists()
    live.symlink_to("nginx.d/to/green")
    again = site.play()
    assert "live is <green>, asked at <http://127.0.0.1:8083>" in again
    assert "changed=0" in again
    before = site.config.read_text()
    site.play("--check", "-e", "nginx_listen=:8090")
    assert site.config.read_text() == before


def test_a_configuration_that_would_not_work_as_a_whole_is_not_put_in_place(nginx_command: str, tmp_path: Path) -> None:
    site = Site(tmp_path, nginx_command)
    (site.etc / "conf.d/other.conf").write_text("server { listen 80 default_server; return 200 other; }\n")
    refused = site.play(code=2)
    assert "a duplicate default server for 0.0.0.0:80" in refused
    assert not site.config.exists()
    (site.etc / "conf.d/other.conf").unlink()
    site.config.write_text("# before\n")
    assert "unknown directive" in site.play("-e", "nginx_keepalive_min_timeout='5s; nonsense'", code=2)
    assert site.config.read_text() == "# before\n"
    for wrong in ("nginx_state_dir='/var/lib/my shop'", "nginx_service=../nginx"):
        assert "Expected: at most 256 hosts" in site.play("-e", wrong, code=2)
    assert not list(tmp_path.glob("tmp.*"))


def test_a_running_nginx_is_reloaded_once_and_only_if_it_is_wanted(nginx: RunningNginx, nginx_command: str) -> None:
    directory = nginx.directory / "role"
    directory.mkdir()
    preview = {"blue": f"http://{nginx.blue}", "green": f"http://{nginx.green}"}
    inputs = {"traffic_admin": f"http://{nginx.admin}", "traffic_preview": preview, "nginx_listen": nginx.public}
    site = Site(directory, nginx_command, **inputs)
    nginx.kill()
    # In the foreground, as the service has it.
    main = site.etc / "nginx.conf"
    main.write_text("daemon off; " + main.read_text())
    nginx.run(main)
    host, _, port = nginx.public.partition(":")
    with socket.create_server((host, int(port))):
        # The address is taken, so nginx goes on as it was.
        assert "See that nginx runs with it" in site.play("-e", "nginx_reload=true", code=2)
    first = site.play("-e", "nginx_reload=true")
    assert "reloaded now" in first
    assert all(f"'{server}'" in first for server in ("127.0.0.2:8001", "127.0.0.3:8001"))
    workers = nginx.workers()
    again = site.play("-e", "nginx_reload=true")
    assert "changed=0" in again
    assert "reloaded" not in again
    assert nginx.workers() == workers


def test_the_watch_reads_the_log_that_the_role_has_written(tmp_path: Path) -> None:
    site = Site(tmp_path, "nginx")
    defaults = [str(ROOT / f"roles/{role}/defaults/main.yml") for role in ("traffic", "nginx", "watch")]
    say = {"name": "Say", "ansible.builtin.debug": {"msg": "<{{ watch_access_log }}> <{{ nginx_access_log }}>"}}
    play = {"name": "Ask", "hosts": "lb", "gather_facts": False, "vars_files": defaults, "tasks": [say]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    assert "</var/log/nginx/shop.log> </var/log/nginx/shop.log>" in site.play("-e", "traffic_driver=nginx")
