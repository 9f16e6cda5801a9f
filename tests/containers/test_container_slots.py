"""app_slot against a real docker engine: one slot is one container, and what a crash, a slow end and other people make of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from typing import Any

import docker as sdk
import pytest
from ansible_collections.baton.release.plugins.module_utils import runtime_docker
from ansible_collections.baton.release.plugins.module_utils._docker import Engine
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

from tests.containers.host import Host
from tests.containers.image import build
from tests.fleet.docker import attempt, docker

STRANGE = {
    "QUOTES": "a 'b' \"c\" $d `e` %f ${HOME} \\n \\",
    "LINES": "first\n  second\t#third\n",
    "BLANKS": "  around  ",
    "UMLAUT": "Grüße, \U0001f680",
    "EMPTY": "",
}
COMPOSE = b"""\
version: "3.8"
services:
  app:
    image: %s:${BATON_VERSION}
    command: python3 app.py "--said in the file"
    environment:
      - FROM_FILE=${BATON_SLOT}
      - OVERRULED=by the file
    env_file: more.env
    ports: ["${PORT}:8000"]
    volumes: ["./VERSION:/etc/app-version:ro"]
    tmpfs: /run
    user: "1234"
    read_only: true
    cap_drop: [ALL]
    security_opt: [no-new-privileges:true]
    mem_limit: 256m
    stop_grace_period: 1s
    restart: always
"""


def containers(host: Host) -> str:
    return docker(
        "ps", "--all", "--no-trunc", "--filter", f"name={host.app}", "--format", "{{.ID}} {{.State}} {{.Names}}"
    )


def test_each_state_is_reached_once_and_check_mode_writes_nothing(host: Host) -> None:
    host.artifact("v1")
    for state in ("present", "started", "verified", "stopped", "absent"):
        before = (sorted(host.root.rglob("*")), containers(host), host.container().get("HostConfig"))
        assert host.slot(state, check_mode=True)["changed"], state
        after = (sorted(host.root.rglob("*")), containers(host), host.container().get("HostConfig"))
        assert after == before, state
        assert host.slot(state)["changed"], state
        assert not host.slot(state)["changed"], state
    assert (host.seen()["state"], containers(host)) == ("absent", "")


def test_the_app_gets_its_environment_and_nobody_else_sees_its_secrets(host: Host) -> None:
    host.slot("present", environment=STRANGE)
    host.secret('SECRET="s3\\$cret"\n')
    host.serve(environment=STRANGE)
    seen = host.asked()
    assert {name: seen["env"][name] for name in STRANGE} == STRANGE
    assert [seen["env"][name] for name in ("SECRET", "BATON_INSTANCE", "BATON_SLOT", "BATON_VERSION", "PORT")] == [
        "s3$cret",
        "app 1",
        "blue",
        "v1",
        str(host.ports["blue"]),
    ]
    container = host.container()
    assert (
        container["Config"]["Labels"].items()
        >= {
            "baton.release": str(host.root / "app"),
            "baton.release.app": host.app,
            "baton.release.slot": "blue",
            "baton.release.version": "v1",
        }.items()
    )  # fmt: skip - one label, one line
    for part in (container["Config"]["Labels"], container["Config"]["Cmd"], container["Args"], container["Path"]):
        assert "s3$cret" not in json.dumps(part)
    slot = host.root / "app" / "slots" / "blue"
    assert "s3" not in (slot / "container.json").read_text()
    assert {path.name: path.stat().st_mode & 0o077 for path in slot.iterdir() if path.name != "slot.json"} == {
        "container.json": 0,
        "env": 0,
        "secrets.env": 0,
    }
    # Nowhere but where the load balancer asks.
    assert [*container["NetworkSettings"]["Ports"].values()] == [
        [{"HostIp": "127.0.0.1", "HostPort": str(host.ports["blue"])}]
    ]
    assert host.seen() == {**host.seen(), "state": "running", "pid": container["State"]["Pid"], "current": True}


def test_only_what_is_new_starts_a_slot_anew(host: Host) -> None:
    first = host.serve()
    assert host.serve() == first
    second = host.serve(environment={"NEW": "1"})
    assert second != first
    # The same name for another image, as a tag that was moved.
    image = f"{host.images}:v1"
    before = str(host.container()["Image"])
    try:
        after = build(image, f"{host.images}:base", "ENV MOVED=1")
        assert host.slot("present", environment={"NEW": "1"}, check_mode=True)["changed"]
        assert host.container()["Id"] == second
        host.serve(environment={"NEW": "1"})
        assert (host.container()["Image"], host.asked()["env"]["MOVED"]) == (after, "1")
        assert after != before
    finally:
        host.leave()
        moved = docker("image", "inspect", "--format={{.Id}}", image)
        docker("tag", before, image)
        if moved != before:
            attempt("image", "rm", moved)


def test_the_words_of_the_command_take_the_place_of_the_images_own(host: Host) -> None:
    host.serve(command=["python3", "app.py", "two words"])
    assert host.asked()["argv"] == ["app.py", "two words"]


def test_a_crash_is_said_at_once_with_the_end_of_its_log(host: Host) -> None:
    crash = {"MOOD": "crash"}
    host.secret('SECRET="c4n4ry"\n')
    host.slot("present", environment=crash)
    begun = time.monotonic()
    with pytest.raises(BatonError, match=r"no way with \*\*\*\*\*\*\*\*") as refusal:
        host.slot("started", environment=crash)
    assert time.monotonic() - begun < 15
    assert f"{host.name()} is absent (exit status 1)" in str(refusal.value)
    assert f"docker logs {host.name()}" in str(refusal.value)
    assert "c4n4ry" not in str(refusal.value)
    # What the message names is still there to be read.
    assert "no way with" in attempt("logs", host.name()).stderr.decode()
    with pytest.raises(BatonError, match=r"(?s)is absent and port .* is closed.*nothing to do"):
        host.serve(environment={"MOOD": "leave"})


def test_a_command_that_is_not_in_the_image_is_said_and_leaves_nothing(host: Host) -> None:
    host.slot("present", command=["/does/not/exist"])
    with pytest.raises(BatonError, match=rf"docker refuses docker start {host.name()}: .*/does/not/exist"):
        host.slot("started", command=["/does/not/exist"])
    assert containers(host) == ""


def test_what_dockers_proxy_accepts_is_not_taken_for_the_app(host: Host) -> None:
    begun = time.monotonic()
    host.serve(environment={"MOOD": "lazy"})
    assert time.monotonic() - begun > 2
    assert host.asked()["env"]["MOOD"] == "lazy"


def test_the_slot_that_was_kept_comes_back_and_no_other(host: Host) -> None:
    host.serve("blue", "v1")
    assert host.policy("blue") == "no"
    host.slot("verified", "blue", "v1")
    green = host.serve("green", "v2")
    assert (host.policy("blue"), host.policy("green")) == ("unless-stopped", "no")
    # A crash of the one that is kept is made up for, one of the other is not.
    for slot in ("blue", "green"):
        with pytest.raises(OSError, match=r"."):
            host.asked(slot, "/crash")
    seen = host.until("absent", "green")
    assert (seen["detail"], seen["current"]) == ("(exit status 3)", False)
    assert host.until("running", "blue")["current"]
    # What had ended before it was kept is started by that.
    assert host.slot("verified", "green", "v2")["changed"]
    assert (host.policy("blue"), host.policy("green")) == ("no", "unless-stopped")
    assert host.until("running", "green")["current"]
    assert host.container("green")["Id"] == green
    host.slot("stopped", "green")
    assert (host.policy("green"), host.seen("green")["state"]) == ("no", "absent")


def test_a_loop_of_crashes_is_seen_between_them_too(host: Host) -> None:
    host.serve(stop_timeout=1)
    host.slot("verified")
    for _ in range(3):
        deadline = time.monotonic() + 20
        while attempt("exec", host.name(), "python3", "-c", "import os; os.kill(1, 15)").returncode:
            assert time.monotonic() < deadline
        time.sleep(0.3)
    seen = host.until("failing")
    assert "restarted" in seen["detail"]
    assert not seen["current"]


def test_the_only_slot_that_runs_is_the_one_that_comes_back(host: Host) -> None:
    host.serve("blue", "v1")
    host.slot("verified", "blue", "v1")
    host.serve("green", "v2", exclusive=True)
    assert (host.policy("blue"), host.policy("green")) == ("no", "unless-stopped")
    assert host.seen("blue")["state"] == "absent"
    assert not host.slot("started", "green", "v2", exclusive=True)["changed"]


@pytest.mark.parametrize(
    ("mood", "limit", "shortest", "longest"), [("slow", 10, 1.4, 9), ("stubborn", 2, 1.9, 8), ("stubborn", 0, 0, 5)]
)
def test_an_end_is_waited_for_and_forced_in_time(
    host: Host, mood: str, limit: int, shortest: float, longest: float
) -> None:
    host.serve(environment={"MOOD": mood}, stop_timeout=limit)
    begun = time.monotonic()
    host.slot("stopped", stop_timeout=limit)
    assert shortest < time.monotonic() - begun < longest
    said = docker("logs", host.name())
    assert ("ended in good order" in said) == (mood == "slow")
    assert host.seen()["state"] == "absent"


def test_a_paused_container_is_said_and_can_be_stopped(host: Host) -> None:
    host.serve()
    docker("pause", host.name())
    assert (host.seen()["state"], host.seen()["detail"]) == ("failing", "(paused)")
    host.slot("stopped")
    assert host.seen()["state"] == "absent"


def test_a_container_of_somebody_else_is_refused_and_not_touched(host: Host) -> None:
    docker("run", "--detach", "--name", host.name(), "--env", "PORT=1", "--env", "BATON_VERSION=x", f"{host.images}:v1")
    before = host.container()
    for state in ("gathered", "present", "stopped", "absent"):
        with pytest.raises(BatonError, match=f"a container {host.name()} on this host, which is not made by app_slot"):
            host.slot(state)
    assert host.container()["State"] == before["State"]
    host.leave()
    # Nor that of the same app in another directory.
    host.serve()
    with pytest.raises(BatonError, match=f"is that of the app under {host.root / 'app'}"):
        host.slot("present", app_root=str(host.root / "elsewhere"))
    assert host.seen()["current"]


def test_a_change_of_an_older_lease_is_refused(host: Host) -> None:
    first = host.serve(token=5)
    for state in ("present", "started", "stopped", "absent"):
        with pytest.raises(BatonError, match="this host has seen lease 5, this change belongs to lease 4"):
            host.slot(state, token=4, environment={"NEW": "1"})
    assert (host.container()["Id"], host.seen()["current"]) == (first, True)


def test_a_port_that_is_taken_is_said(host: Host) -> None:
    host.slot("present")
    with (
        socket.create_server(("127.0.0.1", host.ports["blue"])),
        pytest.raises(BatonError, match=f"port {host.ports['blue']} of slot blue"),
    ):
        host.slot("started")
    assert containers(host) == ""


@pytest.mark.parametrize(
    ("address", "said"), [("192.0.2.1", "Cannot assign"), ("localhost", "no IP address")], ids=["elsewhere", "a name"]
)
def test_an_address_that_is_not_of_this_host_is_said(host: Host, address: str, said: str) -> None:
    with pytest.raises(BatonError, match=f"docker_address '{address}': {said}"):
        host.slot("present", docker_address=address)


def test_an_image_that_cannot_be_had_is_said_before_anything_is_stopped(host: Host) -> None:
    first = host.serve()
    missing: list[tuple[dict[str, Any], str]] = [
        (
            {"docker_image": "baton-test/nowhere:{version}"},
            "no image baton-test/nowhere:v1 on this host, and no registry",
        ),
        (
            {"docker_image": "127.0.0.1:9/shop:{version}"},
            "no image 127.0.0.1:9/shop:v1 on this host; docker refuses docker pull",
        ),
        ({"docker_archive": "image.tar"}, "no .*releases/v1/image.tar"),
        ({"docker_image": ""}, "neither an image nor a Compose file"),
        ({"docker_compose": "compose.yml"}, "both an image and a Compose file"),
        ({"docker_image": "", "docker_compose": "compose.{slot}.yml"}, "no compose.blue.yml in v1"),
    ]
    for more, said in missing:
        with pytest.raises(BatonError, match=said):
            host.slot("present", **more)
    assert (host.container()["Id"], host.seen()["current"]) == (first, True)


def test_an_image_comes_with_the_release_whatever_has_its_name(host: Host) -> None:
    image, first = f"{host.images}:v3", f"{host.images}:v1"
    wanted = build(image, f"{host.images}:base", "ENV MADE=1")
    try:
        host.artifact("v3", {"image.tar": host.save("v3")})
        docker("image", "rm", "--force", image)
        archive: dict[str, Any] = {"docker_archive": "image.tar"}
        assert host.slot("present", "blue", "v3", check_mode=True, **archive)["changed"]
        assert attempt("image", "inspect", image).returncode
        host.serve("blue", "v3", **archive)
        assert host.container()["Image"] == wanted
        # Something else of the same name.
        docker("tag", first, image)
        assert not host.slot("present", "blue", "v3", **archive)["changed"]
        assert docker("image", "inspect", "--format={{.Id}}", image) == wanted
        with pytest.raises(BatonError, match=r"no image baton-test/other:v3 after docker load of .*Loaded image"):
            host.slot("present", "blue", "v3", docker_image="baton-test/other:{version}", **archive)
    finally:
        host.leave()
        docker("image", "rm", "--force", image)


def test_a_compose_file_of_the_release_describes_the_slot(host: Host) -> None:
    files = {"docker-compose.blue.yml": COMPOSE % host.images.encode(), "more.env": b"MORE=1\nFROM_FILE=0\n"}
    host.artifact("v1", files)
    compose: dict[str, Any] = {"docker_image": "", "docker_compose": "docker-compose.{slot}.yml"}
    compose["environment"] = {"OVERRULED": "by us"}
    first = host.serve(**compose)
    seen = host.asked()
    found = [seen["env"][name] for name in ("FROM_FILE", "OVERRULED", "MORE", "PORT")]
    assert found == ["blue", "by us", "1", "8000"]
    assert (seen["uid"], seen["argv"]) == (1234, ["app.py", "--said in the file"])
    assert "CapBnd:\t0000000000000000" in seen["status"]
    assert "NoNewPrivs:\t1" in seen["status"]
    assert host.asked(path="/try/app/x") == "Read-only file system"
    assert host.asked(path="/try/etc/app-version") in ("Read-only file system", "Permission denied")
    container = host.container()
    assert (container["HostConfig"]["Memory"], container["Config"]["StopTimeout"]) == (256 * 1024 * 1024, 1)
    assert host.serve(**compose) == first
    host.slot("verified", **compose)
    assert host.policy() == "always"


def test_a_slot_is_retired_by_what_a_timer_would_run_or_by_the_next_run(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve("blue", "v1")
    host.serve("green", "v2")
    # A host without systemd has no timer, so the next run sweeps.
    monkeypatch.setattr(runtime_docker, "_SYSTEMD", host.root / "no-systemd")
    hot: dict[str, Any] = {"keep_hot": "1s", "ask": ["http://127.0.0.1:1/"]}
    seen = host.slot("verified", "green", "v2", **hot)["slots"]["blue"]
    assert (seen["retires_in"], seen["timer"]) == (1, False)
    time.sleep(1)
    assert host.slot("retired", "blue", check_mode=True)["changed"]
    assert host.seen("blue")["state"] == "running"
    assert host.slot("retired", "blue")["changed"]
    assert host.seen("blue")["state"] == "absent"
    # Where there is one, it stops this container, and not another one that has got its name.
    host.serve("blue", "v1")
    monkeypatch.setattr(runtime_docker, "_SYSTEMD", host.root)
    parameters = {"app_root": str(host.root / "app"), "docker_address": "127.0.0.1"}
    runtime = runtime_docker.Docker(
        {**dict.fromkeys(("docker_image", "docker_compose", "docker_archive")), **parameters}
    )
    stop, end = runtime.commands_to_retire(host.name("blue"), "timer")
    assert (stop[-1], end[-1]) == (host.container("blue")["Id"], "timer.timer")
    subprocess.run(stop, check=True, stdout=subprocess.DEVNULL)
    assert (host.seen("blue")["state"], host.seen("green")["state"]) == ("absent", "running")


def test_an_engine_that_cannot_be_asked_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0 and not os.environ.get("DOCKER_HOST"):
        os.seteuid(65_534)
        try:
            with pytest.raises(BatonError, match=r"this user may not ask the docker engine.*ansible_become"):
                Engine()
        finally:
            os.seteuid(0)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{host.root}/nobody.sock")
    with pytest.raises(BatonError, match=r"no docker engine answers.*systemctl start docker"):
        host.seen()
    monkeypatch.setattr(sdk, "__version__", "4.4.4")
    with pytest.raises(BatonError, match=r"docker 4.4.4 for .*upgrade python3-docker"):
        host.seen()
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(BatonError, match=r"no Python package docker for .*install python3-docker"):
        host.seen()
