"""What Ansible really does when hosts fail, as the procedure has to live with it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.environment import APP_HOSTS, Environment
from tests.witness.checker import judge


@contextmanager
def unharmed(shop: Environment, name: str) -> Iterator[None]:
    """Have users lose no request, and be served in the end by the version that served them before."""
    live, version = shop.live(), shop.served()["version"]
    with shop.witness(name) as witness:
        witness.wait_until_flowing()
        yield
        ledger = witness.stop()
    verdict = judge(ledger)
    assert verdict.ok, verdict.reasons
    assert (shop.live(), shop.served()["version"]) == (live, version)


def test_one_app_host_fails_during_stage(shop: Environment) -> None:
    version = shop.new_version()
    obstacle = shop.host("app2") / "shop" / "releases" / version
    obstacle.write_text("a file where the release belongs")
    with unharmed(shop, "stage"):
        played = shop.release(version)
    assert played.code != 0
    assert "abandoned" in played.output
    assert "Switch" not in [one["task"] for one in played.tasks]
    # Every host came to the revert and to the conclusion, the failed one too.
    assert set(played.ran("Say what became of the traffic")) == {"lb1", *APP_HOSTS}
    assert shop.runs()[-1]["outcome"] == "abandoned"
    assert not shop.lease()["owner"]
    obstacle.unlink()
    assert shop.release(version).code == 0


def test_one_app_host_does_not_come_up(shop: Environment) -> None:
    version = shop.new_version(
        edits={
            "shop/__main__.py": "",
            "shop/__init__.py": "\nimport os\nif os.environ.get('BATON_INSTANCE') == 'app3':\n    raise SystemExit('no room')\n",
        }
    )
    with unharmed(shop, "start"):
        played = shop.release(version)
    assert played.code != 0
    assert "no room" in played.output
    assert shop.runs()[-1]["outcome"] == "abandoned"


def test_one_app_host_answers_with_another_version(shop: Environment) -> None:
    lie = "\nimport os\nif os.environ.get('BATON_INSTANCE') == 'app3':\n    __version__ = 'v0.0.1'\n"
    version = shop.new_version(edits={"shop/__init__.py": lie})
    with unharmed(shop, "lie"):
        played = shop.release(version, app_health_deadline=4)
    assert played.code != 0
    assert f"v0.0.1, expected {version}" in played.output
    assert "Switch" not in [one["task"] for one in played.tasks]


def test_one_app_host_fails_during_revert(shop: Environment) -> None:
    """The watch sends v1.2.0 back; stopping it fails on app2, and the others are stopped all the same."""
    live = shop.live()
    with shop.witness("revert", rate=100) as witness:
        witness.wait_until_flowing()
        spoil = f"mv {shop.host('app2')}/supervisor/supervisord.conf {shop.host('app2')}/supervisor/away"
        played = shop.release(
            "v1.2.0", watch_seconds=10, before="Stop the version that did not make it", sabotage=spoil
        )
        ledger = witness.stop()
    (shop.host("app2") / "supervisor" / "away").rename(shop.host("app2") / "supervisor" / "supervisord.conf")
    assert played.code != 0
    assert shop.live() == live
    verdict = judge(ledger, allow_5xx_of="v1.2.0")
    assert verdict.ok, verdict.reasons
    failed = {
        one["host"] for one in played.tasks if one["outcome"] == "failed" and one["task"].startswith("Stop the version")
    }
    assert failed == {"app2"}
    idle = "green" if live == "blue" else "blue"
    assert {name for name in shop.pids() if name.endswith(f"shop-{idle}")} == {f"app2/shop-{idle}"}
    assert shop.runs()[-1]["outcome"] == "reverted"
    assert not shop.lease()["owner"]


def test_one_app_host_is_lost_during_revert(shop: Environment) -> None:
    live = shop.live()
    with shop.witness("lost", rate=100) as witness:
        witness.wait_until_flowing()
        played = shop.release(
            "v1.2.0", watch_seconds=10, before="Switch back, from whatever is live", sabotage=shop.sever("app2")
        )
        ledger = witness.stop()
    assert played.code != 0
    assert shop.live() == live
    verdict = judge(ledger, allow_5xx_of="v1.2.0")
    assert verdict.ok, verdict.reasons
    assert shop.runs()[-1]["outcome"] == "reverted"


def test_the_balancer_is_lost_before_the_switch(shop: Environment) -> None:
    """What is live is unknown then, so nothing on the app hosts is touched: both slots run on."""
    version, live = shop.new_version(), shop.live()
    with unharmed(shop, "switch"):
        played = shop.release(version, before="Switch", sabotage=shop.sever("lb1"), release_state_host="app1")
        both = {name for name in shop.pids() if "shop-" in name}
    assert played.code != 0
    assert "not known on every load balancer" in " ".join(played.output.split())
    assert both == {f"{host}/shop-{slot}" for host in APP_HOSTS for slot in ("blue", "green")}
    shop.mend()
    played = shop.release(version, release_state_host="app1")
    assert played.code == 0, played.output
    assert shop.live() != live


def test_the_balancer_is_lost_in_the_rescue(shop: Environment) -> None:
    """The bad version stays live, because nobody can say what is live; mended, a rollback takes it back at once."""
    before, good = shop.live(), shop.served()["version"]
    # Stage it anew: an earlier test has left it stopped in the idle slot.
    played = shop.release(
        "v1.2.0",
        watch_seconds=10,
        before="Switch back, from whatever is live",
        sabotage=shop.sever("lb1"),
        release_state_host="app1",
    )
    assert played.code != 0
    assert "both slots run on" in " ".join(played.output.split())
    assert played.ran("Stop the version that did not make it") == []
    assert {name for name in shop.pids() if "shop-" in name} == {
        f"{host}/shop-{slot}" for host in APP_HOSTS for slot in ("blue", "green")
    }
    shop.mend()
    played = shop.play("rollback", release_state_host="app1")
    assert played.code == 0, played.output
    assert (shop.live(), shop.served()["version"]) == (before, good)


@pytest.mark.parametrize("host", ["app3", "lb1"])
def test_a_host_is_lost_from_the_start(shop: Environment, host: str) -> None:
    version = shop.new_version()
    (shop.severed / host).touch()
    files = shop.snapshot()
    with unharmed(shop, f"start-{host}"):
        played = shop.release(version)
    assert played.code != 0
    assert shop.snapshot() == files
    status = shop.status()
    assert "unknown (unreachable)" in status


def test_a_dead_app_host_does_not_block_the_way_back(shop: Environment) -> None:
    first, second = shop.new_version(), shop.new_version()
    for version in (first, second):
        assert shop.release(version).code == 0
    (shop.severed / "app3").touch()
    played = shop.play("rollback")
    assert "left out app3 (unreachable)" in " ".join(played.output.split())
    assert shop.served()["version"] == first


def test_a_lost_state_host_does_not_block_the_way_back(shop: Environment) -> None:
    first, second = shop.new_version(), shop.new_version()
    for version in (first, second):
        assert shop.release(version, release_state_host="app1").code == 0
    (shop.severed / "app1").touch()
    shop.play("rollback", release_state_host="app1")
    assert shop.served()["version"] == first


def test_a_wrong_checksum_is_refused(shop: Environment) -> None:
    version = shop.new_version()
    with unharmed(shop, "checksum"):
        played = shop.release(version, release_sha256="0" * 64)
    assert played.code != 0
    assert "has the SHA-256" in played.output
    assert not any((shop.host(host) / "shop" / "releases" / version).exists() for host in APP_HOSTS)


def test_a_port_that_is_taken_is_said(shop: Environment) -> None:
    idle = "green" if shop.live() == "blue" else "blue"
    ports = json.loads((shop.root / "ports.json").read_text())
    stop = shop.supervisorctl("app2", "stop", f"shop-{idle}")
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", ports["app2"][idle]))
        squatter.listen()
        with unharmed(shop, "port"):
            played = shop.release(shop.new_version())
    assert played.code != 0, stop
    assert f"port {ports['app2'][idle]} of slot {idle}" in played.output


@pytest.mark.parametrize("manifest", ["of the whole", "of the part"])
def test_a_truncated_artifact_is_refused(shop: Environment, manifest: str) -> None:
    """Cut off while it was copied, or while it was built."""
    version = shop.new_version()
    artifact = shop.root / "artifacts" / f"shop-{version}.tar.gz"
    content = artifact.read_bytes()
    artifact.write_bytes(content[: len(content) // 2])
    if manifest == "of the part":
        sha256 = hashlib.sha256(artifact.read_bytes()).hexdigest()
        artifact.with_name(f"shop-{version}.json").write_text(json.dumps({"sha256": sha256}))
    with unharmed(shop, "truncated"):
        played = shop.release(version)
    assert played.code != 0
    said = "is not a whole tar.gz archive" if manifest == "of the part" else "has the SHA-256"
    assert said in played.output
    assert "Traceback" not in played.output
    assert not [path for host in APP_HOSTS for path in (shop.host(host) / "shop" / "releases").glob(f"*{version}*")]
    artifact.write_bytes(content)
    if manifest == "of the whole":
        assert shop.release(version).code == 0


def test_a_secret_that_the_store_does_not_have_is_said(shop: Environment) -> None:
    with unharmed(shop, "secret"):
        played = shop.release(shop.new_version(), secrets_items={"DATABASE_URL": "DATABASE_URI"})
    assert played.code != 0
    assert "DATABASE_URI" in played.output
    assert "Switch" not in [one["task"] for one in played.tasks]


def test_a_missing_environment_variable_is_said(shop: Environment) -> None:
    """The tool for migrations needs DATABASE_URL, and would end in a traceback of its own without."""
    with unharmed(shop, "variable"):
        played = shop.release(shop.new_version(), secrets_items={})
    assert played.code != 0
    assert "no DATABASE_URL in the tool's environment" in played.output
    assert "Switch" not in [one["task"] for one in played.tasks]
    assert shop.runs()[-1]["outcome"] == "abandoned"


def test_an_app_that_misses_a_variable_shows_what_it_said(shop: Environment) -> None:
    version = shop.new_version(edits={"shop/__init__.py": "\nimport os\nos.environ['PAYMENT_KEY']\n"})
    with unharmed(shop, "app"):
        played = shop.release(version)
    assert played.code != 0
    assert "KeyError: 'PAYMENT_KEY'" in played.output.replace("''", "'")
    assert shop.runs()[-1]["outcome"] == "abandoned"


@contextmanager
def full(directory: Path) -> Iterator[None]:
    """Have ``directory`` on a file system of its own that has no room left but for what it holds already."""
    copy = directory.with_name(f"{directory.name}.copy")
    shutil.copytree(directory, copy, symlinks=True)
    used = int(subprocess.run(["du", "-sk", str(copy)], capture_output=True, text=True, check=True).stdout.split()[0])
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={used + 512}k", "small", str(directory)], check=True)
    try:
        shutil.copytree(copy, directory, symlinks=True, dirs_exist_ok=True)
        yield
    finally:
        # Lazily: what was started meanwhile may have files open there.
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
        shutil.rmtree(copy)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk that is small enough to be full")
def test_a_full_disk_is_said(shop: Environment) -> None:
    version = shop.new_version()
    releases = shop.host("app2") / "shop" / "releases"
    with full(releases), unharmed(shop, "disk"):
        played = shop.release(version)
        assert not list(releases.glob(f"*{version}*"))
    assert played.code != 0
    assert "No space left on device" in played.output
    assert "make room" in played.output
    assert "Traceback" not in played.output
    assert shop.runs()[-1]["outcome"] == "abandoned"
    assert shop.release(version).code == 0


def test_a_database_that_is_down_is_said_and_nothing_moves(shop: Environment) -> None:
    version, before, served = shop.new_version(), shop.live(), shop.served()["version"]
    schema = shop.schema()
    (program,) = [name.split("/")[1] for name in shop.pids() if name.startswith("db1/")]
    shop.supervisorctl("db1", "stop", program)
    try:
        played = shop.release(version)
    finally:
        shop.supervisorctl("db1", "start", program)
    assert played.code != 0
    assert "Switch" not in [one["task"] for one in played.tasks]
    assert "Traceback" not in played.output
    assert "database" in played.output
    assert (shop.live(), shop.schema()) == (before, schema)
    # The balancer has to see that the old version is healthy again.
    with shop.witness("down", rate=5) as witness:
        witness.wait_until_flowing()
    assert shop.served()["version"] == served
    assert shop.release(version).code == 0
