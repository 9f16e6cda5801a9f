"""The playbooks by their full names, from a project that has an inventory and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess

from tests.install.installed import NAMESPACE, Installed
from tests.witness.checker import judge


def test_a_release_and_a_rollback(user: Installed) -> None:
    before, version = str(user.served()["version"]), user.new_version()
    with user.witness("installed") as witness:
        witness.wait_until_flowing()
        released = user.release(version)
        served = user.served()["version"]
        back = user.play("rollback")
        ledger = witness.stop()
    assert released.code == 0, released.output
    assert served == version
    assert back.code == 0, back.output
    assert user.served()["version"] == before
    verdict = judge(ledger)
    assert verdict.ok, verdict.reasons
    assert {before, version} <= set(verdict.versions)
    assert f"lb1: {user.live()} ({before})" in user.status()


def test_check_mode_says_the_plan_and_changes_nothing(user: Installed) -> None:
    before = user.snapshot()
    played = user.play("release", "--check", release_version="v1.1.0")
    assert played.code == 0, played.output
    assert "v1.1.0" in played.output
    assert user.snapshot() == before


def test_an_artifact_is_built_into_the_project(user: Installed) -> None:
    """Never into the installed collection, where the next install of it would remove the artifact."""
    repository = user.home / "tiny"
    repository.mkdir()
    (repository / "hello.txt").write_text("hello\n")
    git = ["git", "-c", "user.name=ann", "-c", "user.email=ann@example.com"]
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["commit", "--quiet", "-m", "x"],
        ["tag", "-a", "v3.0.0", "-m", "x"],
    ):
        subprocess.run([*git, *command], cwd=repository, check=True)
    shutil.copytree(user.collections.joinpath(*NAMESPACE, "inventories", "prod"), user.project / "inventories" / "prod")
    settings = json.dumps({"release_version": "v3.0.0", "build_repository": str(repository), "build_command": []})
    built = user.run("ansible-playbook", "baton.release.build", "-i", "inventories/prod", "-e", settings)
    assert built.code == 0, built.output
    manifest = json.loads((user.project / "dist" / "shop-v3.0.0.json").read_text())
    assert manifest["version"] == "v3.0.0"
