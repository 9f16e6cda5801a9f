"""A Compose file of a release: what is understood is what Compose understands, and all else is refused with its key and file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.baton.release.plugins.module_utils.compose_file import KNOWN, container_of
from ansible_collections.baton.release.plugins.module_utils.containers import Bind, Container, from_text
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.launch import Launch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.inputs.hostile import ANYTHING

FILE = "deploy/docker-compose.blue.yml"
EVERYTHING = """\
version: "3.8"
x-common: &common
  cap_drop: [ALL, SETUID]
services:
  shop:
    <<: *common
    image: registry.example.com:5000/shop:${BATON_VERSION}
    entrypoint: [/bin/tini, --]
    command: serve --name 'two words' $$HOME
    environment: {LEVEL: info, WORKERS: 2, SLOT: $BATON_SLOT}
    env_file: [a.env, ./b.env]
    ports:
      - {target: 8000, published: "${PORT}", protocol: tcp, host_ip: 10.0.0.5}
    volumes:
      - /var/lib/shop:/data
      - ./config:/config:ro
      - {type: bind, source: /etc/ssl, target: /etc/ssl, read_only: true}
    tmpfs: [/tmp, /run]
    user: 1000
    working_dir: /app
    read_only: true
    init: true
    security_opt: [no-new-privileges:true]
    mem_limit: 512m
    stop_grace_period: 1m30s
    restart: unless-stopped
"""


def launch(release: Path) -> Launch:
    own = {"PORT": "8001", "BATON_INSTANCE": "app1", "BATON_SLOT": "blue", "BATON_VERSION": "v1.0.0"}
    return Launch("shop", "v1.0.0", "blue", 8001, release, release / "slot", (), 30, own)


def read(release: Path, text: str) -> Container:
    (release / "deploy").mkdir(exist_ok=True)
    (release / FILE).write_text(text)
    return container_of(launch(release), FILE, address="10.0.0.5")


def service(**keys: str) -> str:
    """Return a file whose service has these keys, and else what it needs."""
    given = {"image": "shop:v1", "ports": '["8001:8000"]', **keys}
    return "services:\n  shop:\n" + "".join(f"    {key}: {value}\n" for key, value in given.items() if value)


def test_everything_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "a.env").write_text("A=1\nLEVEL=debug\n")
    (tmp_path / "deploy" / "b.env").write_text('A="2"\n')
    found = read(tmp_path, EVERYTHING)
    assert found == Container(
        image="registry.example.com:5000/shop:v1.0.0",
        address="10.0.0.5",
        port=8001,
        target=8000,
        stop_seconds=90,
        restart="unless-stopped",
        command=("serve", "--name", "two words", "$HOME"),
        entrypoint=("/bin/tini", "--"),
        environment={"A": "2", "LEVEL": "info", "WORKERS": "2", "SLOT": "blue"},
        binds=(
            Bind("/var/lib/shop", "/data"),
            Bind(str(tmp_path / "deploy" / "config"), "/config", read_only=True),
            Bind("/etc/ssl", "/etc/ssl", read_only=True),
        ),
        tmpfs=("/tmp", "/run"),  # noqa: S108 - in a container
        user="1000",
        working_dir="/app",
        read_only=True,
        init=True,
        cap_drop=("ALL", "SETUID"),
        security_opt=("no-new-privileges:true",),
        memory="512m",
    )
    assert from_text(found.text()) == found
    assert {key for key in KNOWN if f"    {key}:" in EVERYTHING or key == "cap_drop"} == {*KNOWN}


def test_what_is_left_out_is_what_the_settings_say(tmp_path: Path) -> None:
    found = read(tmp_path, service())
    expected = Container(image="shop:v1", address="10.0.0.5", port=8001, target=8000, stop_seconds=30)
    assert found == expected
    assert found.restart == "unless-stopped"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services: [", "no YAML"),
        ("services: 2026-99-99", "no YAML"),
        ('"a\\eb": 1', r"a\?b: a key that is not known"),
        ("- a", "services with one service"),
        ("services: {}", "services: 0 services"),
        ("services: {a: {image: x}, b: {image: y}}", "services: 2 services.*leave the app in it alone"),
        ("services: {a: 1}", "services.a: no dictionary"),
        (service() + "volumes: {data: {}}\n", "volumes: a key that is not known"),
        (service(build="."), "services.shop.build: a key that is not known here.*brought along"),
        (service(healthcheck="{test: x}"), "services.shop.healthcheck: a key.*app_health_"),
        (service(privileged="true"), "services.shop.privileged: a key"),
        (service(network_mode="host"), "services.shop.network_mode: a key"),
        (
            service(ulimits="{nofile: 5}"),
            "services.shop.ulimits: a key that is not known here. Expected: only cap_drop, ",
        ),
        (service(image=""), "services.shop.image: nothing"),
        (service(ports=""), "services.shop.ports: nothing"),
        (service(image="shop"), "services.shop.image: 'shop'. Expected: an image with a tag"),
        (service(image="shop:latest"), "an image with a tag other than latest"),
        (service(image="host:5000/shop"), "an image with a tag other than latest"),
        (service(image="shop:${TAG}"), r"image: the variable \$\{TAG\}. Expected: only \$\{PORT\}, "),
        (service(image="shop:${TAG:-v1}"), "image: the variable"),
        (service(command='"a \'b"'), "services.shop.command: .*each quote closed"),
        (service(command="5"), "services.shop.command: 5. Expected: a list"),
        (service(environment="[HOME]"), "services.shop.environment: 'HOME'. Expected: NAME=value"),
        (service(environment="{A: true}"), "services.shop.environment.A: bool where a text belongs.*in quotes"),
        (service(environment="{A: }"), "services.shop.environment.A: NoneType"),
        (service(environment="{A-B: x}"), "services.shop.environment.A-B: no name of a variable"),
        (service(env_file="none.env"), "services.shop.env_file: none.env is not in the release"),
        (service(env_file="../../x"), "services.shop.env_file: '../../x'. Expected: a path inside"),
        (service(ports="[]"), "services.shop.ports: 0 ports"),
        (service(ports='["8001:8000", "9001:9000"]'), "services.shop.ports: 2 ports"),
        (service(ports='["8000"]'), "services.shop.ports: '8000'"),
        (service(ports='["8002:8000"]'), r"services.shop.ports: '8002:8000'. Expected: one port.*\(8001 here\)"),
        (service(ports='["8001:8000/udp"]'), "services.shop.ports: '8001:8000/udp'"),
        (service(ports='["8001:70000"]'), "services.shop.ports: '8001:70000'"),
        (
            service(ports='["0.0.0.0:8001:8000"]'),
            "the address 0.0.0.0. Expected: none, or 10.0.0.5 as app_docker_address",
        ),
        (service(ports="[{target: 8000, published: 8001, mode: ingress}]"), "services.shop.ports"),
        (service(ports="[8001]"), "services.shop.ports: 8001.*in quotes"),
        (service(volumes='["data:/data"]'), "services.shop.volumes: 'data:/data'.*volumes of docker's own"),
        (service(volumes='["./data:/data"]'), "services.shop.volumes: './data:/data'. Expected: the release read-only"),
        (service(volumes='["/a:/b:rw,z"]'), "services.shop.volumes"),
        (service(volumes='["./../../x:/b:ro"]'), "services.shop.volumes: .*a path inside"),
        (service(volumes="[{type: volume, source: a, target: /a}]"), "services.shop.volumes"),
        (service(user="[1]"), "services.shop.user: list where a text belongs"),
        (service(read_only='"yes"'), "services.shop.read_only: 'yes'. Expected: true or false"),
        (service(cap_drop="{}"), "services.shop.cap_drop: {}. Expected: a list"),
        (service(mem_limit="much"), "services.shop.mem_limit: 'much'"),
        (service(stop_grace_period="5"), "services.shop.stop_grace_period: 5. Expected: a time"),
        (service(stop_grace_period="1.5s"), "services.shop.stop_grace_period"),
        (service(restart="no"), "services.shop.restart: False. Expected: always or unless-stopped"),
        (service(restart="on-failure"), "services.shop.restart: 'on-failure'"),
    ],
)  # fmt: skip - one row, one line
def test_what_is_not_understood_is_refused_with_its_key_and_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BatonError, match=said) as refusal:
        read(tmp_path, text)
    assert f"Found: {FILE}: " in str(refusal.value)
    assert "nothing was touched" in str(refusal.value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*KNOWN, "ports.0", "volumes.0"]), ANYTHING)
def test_whatever_is_in_a_file_is_understood_or_refused_in_words(tmp_path: Path, key: str, value: Any) -> None:
    name, _, inside = key.partition(".")
    keys = {"image": "shop:v1", "ports": ["8001:8000"], name: [value] if inside else value}
    try:
        found = read(tmp_path, yaml.safe_dump({"services": {"shop": keys}}))
    except BatonError:
        return
    assert from_text(found.text()) == found


def test_a_link_of_the_release_does_not_lead_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "out").symlink_to("/etc")
    with pytest.raises(BatonError, match=r"which leads to /etc"):
        read(tmp_path, service(volumes='["./out:/b:ro"]'))


def test_a_file_that_is_not_there_and_a_host_without_yaml_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BatonError, match=r"no compose.yml in v1.0.0"):
        container_of(launch(tmp_path), "compose.yml", address="10.0.0.5")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(BatonError, match=r"no Python package yaml .*install python3-yaml"):
        read(tmp_path, service())
