"""provision.yml on real hosts: from nothing, again, and in check mode."""

from __future__ import annotations

import re
from pathlib import Path

from tests.fleet.hosts import Fleet
from tests.systemd.conftest import PROVISION, QUICK, WRITABLE
from tests.systemd.host import Host


def changed(said: str) -> int:
    """Return how many tasks changed the host, from the recap of a playbook."""
    (number,) = re.findall(r"^app1 .* changed=(\d+)", said, re.MULTILINE)
    return int(number)


def test_check_mode_on_a_bare_host_fails_at_nothing_and_writes_nothing(fleet: Fleet, tmp_path: Path) -> None:
    bare = Host(fleet, "app2", tmp_path)
    bare.begin()
    said = bare.play(PROVISION, "--check", "--diff", **WRITABLE)
    assert "+NoNewPrivileges=yes" in said
    assert bare.traces() == []


def test_again_it_changes_nothing(provisioned: Host) -> None:
    assert not changed(provisioned.play(PROVISION, **QUICK, **WRITABLE))
    assert not changed(provisioned.play(PROVISION, "--check", **QUICK, **WRITABLE))


def test_the_unit_is_one_that_systemd_has_nothing_to_say_about(provisioned: Host) -> None:
    unit = "/etc/systemd/system/shop@.service"
    assert (
        provisioned.sh(
            "sh", "-c", f"systemd-analyze verify {unit} 2>&1 | grep -v 'slots/.*/run is not executable'", check=False
        )
        == ""
    )


def test_limits_are_those_of_the_variables(host: Host) -> None:
    host.serve()
    assert host.show("MemoryMax") == str(512 << 20)
    assert host.show("CPUQuotaPerSecUSec") == "1.500000s"
    assert host.show("LimitNOFILE") == "65536"
    assert host.show("TasksMax") == "4096"
    limits = host.sh("cat", f"/proc/{host.seen()['pid']}/limits")
    # systemd takes what there is where that is less.
    there = min(65536, int(host.sh("sh", "-c", "ulimit -Hn")))
    assert str(there) in next(line for line in limits.splitlines() if line.startswith("Max open files"))


def test_a_changed_setting_interrupts_nothing_and_holds_from_the_next_start(host: Host) -> None:
    pid = host.serve()
    more = {**QUICK, **WRITABLE, "provision_service_settings": {"UMask": "0077"}}
    try:
        assert changed(host.play(PROVISION, **more))
        assert host.seen()["pid"] == pid
        host.serve(environment={"NEW": "1"})
        assert host.show("UMask") == "0077"
    finally:
        host.play(PROVISION, **QUICK, **WRITABLE)


def test_the_journal_is_bounded(provisioned: Host) -> None:
    said = provisioned.sh("systemd-analyze", "cat-config", "systemd/journald.conf")
    assert "SystemMaxUse=1G" in said
    assert "MaxRetentionSec=1month" in said
