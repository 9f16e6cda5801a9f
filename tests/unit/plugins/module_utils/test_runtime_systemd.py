"""What systemctl prints, as the state of a slot; and the unit, as the role renders it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.runtime_systemd import (
    PROPERTIES,
    parse_properties,
    state_of,
)
from ansible_collections.baton.release.plugins.module_utils.runtimes import RUNTIMES, runtime_of
from ansible_collections.baton.release.plugins.modules.app_slot import DOCUMENTATION

ROLE = Path(__file__).resolve().parents[4] / "roles" / "provision"


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ("ActiveState=active SubState=running MainPID=7", ("running", 7, "")),
        ("ActiveState=reloading SubState=reload MainPID=7", ("running", 7, "")),
        ("ActiveState=activating SubState=start MainPID=7", ("starting", 7, "")),
        (
            "ActiveState=activating SubState=auto-restart MainPID=0 NRestarts=1 Result=exit-code ExecMainStatus=3",
            ("failing", None, "(exit status 3, restarted 1 time)"),
        ),
        (
            "ActiveState=failed SubState=failed NRestarts=4 Result=start-limit-hit ExecMainStatus=1",
            ("failing", None, "(started too often in a row, restarted 4 times, given up)"),
        ),
        ("ActiveState=failed Result=signal ExecMainStatus=9", ("failing", None, "(ended by signal 9, given up)")),
        ("ActiveState=failed Result=oom-kill", ("failing", None, "(killed, because its memory ran out, given up)")),
        ("ActiveState=failed Result=something-new", ("failing", None, "(something-new, given up)")),
        ("ActiveState=deactivating SubState=stop-sigterm MainPID=7", ("stopped", 7, "")),
        ("ActiveState=inactive SubState=dead UnitFileState=enabled", ("stopped", None, "")),
        ("ActiveState=inactive SubState=dead UnitFileState=disabled", ("absent", None, "")),
        ("LoadState=not-found ActiveState=inactive SubState=dead", ("absent", None, "")),
        ("", ("stopped", None, "")),
    ],
)
def test_the_state_of_a_unit(properties: str, expected: tuple[str, int | None, str]) -> None:
    state = state_of(parse_properties("\n".join(properties.split())))
    assert (state["state"], state["pid"], state["detail"]) == expected


def test_a_value_may_hold_signs_of_equality_and_a_property_may_be_missing() -> None:
    found = parse_properties("ExecStart={ path=/a b/run ; argv[]=/a b/run ; pid=0 }\nNot=asked\n\n")
    assert found["ExecStart"] == "{ path=/a b/run ; argv[]=/a b/run ; pid=0 }"
    assert set(found) == {*PROPERTIES}
    assert found["MainPID"] == ""


def test_a_runtime_that_nobody_knows_is_said() -> None:
    with pytest.raises(BatonError, match=r"the runtime 'podman'.*docker, supervisor, systemd"):
        runtime_of("podman", {})


def test_every_runtime_is_one_that_the_settings_and_the_module_take() -> None:
    app = yaml.safe_load((ROLE.parent / "app/meta/argument_specs.yml").read_text())["argument_specs"]["settings"][
        "options"
    ]
    module = yaml.safe_load(DOCUMENTATION)["options"]["runtime"]
    assert list(RUNTIMES) == app["app_runtime"]["choices"] == module["choices"]


def rendered(**more: Any) -> list[str]:
    """The lines of the unit as the template module would write it."""
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    plain = {name: value for name, value in defaults.items() if "{{" not in str(value)}
    known = {
        "provision_app_name": "shop",
        "provision_app_root": "/srv/shop",
        "provision_user": "shop",
        "provision_group": "shop",
    }
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - a unit is no HTML
    environment.filters["flatten"] = lambda values: values[0] if isinstance(values[0], list) else values
    template = environment.from_string((ROLE / "templates/app@.service.j2").read_text())
    given = {**plain, **known, "provision_stop_timeout": 30, "__provision_once": False, **more}
    return template.render(given).splitlines()


def test_the_unit_without_limits() -> None:
    unit = rendered()
    assert "ExecStart=/srv/shop/slots/%i/run" in unit
    assert "User=shop" in unit
    assert [line for line in unit if line.startswith(("MemoryMax", "CPUQuota", "ReadWritePaths"))] == []


def test_the_unit_of_what_runs_once_is_that_of_the_slots_with_other_paths_and_always_started_again() -> None:
    unit, once = rendered(), rendered(__provision_once=True)
    assert len(unit) == len(once)
    assert [line for line in once if line not in unit] == [
        once[0],
        "Description=shop, singleton %i",
        "EnvironmentFile=/srv/shop/singletons/%i/slot/env",
        "EnvironmentFile=-/srv/shop/singletons/%i/slot/secrets.env",
        "ExecStart=/srv/shop/singletons/%i/run",
        "Restart=always",
    ]


def test_the_unit_with_everything() -> None:
    unit = rendered(
        provision_memory_max="2G",
        provision_cpu_quota="150%",
        provision_writable_paths=["/var/lib/shop", "/var/cache/shop"],
        provision_service_settings={"UMask": "0077", "ExecStartPre": ["/bin/a", "/bin/b"]},
    )
    assert {"MemoryMax=2G", "CPUQuota=150%", "ReadWritePaths=/var/lib/shop /var/cache/shop"} <= {*unit}
    # The last one wins, so the user's own come after the role's.
    assert [line for line in unit if line.startswith("UMask=")] == ["UMask=0027", "UMask=0077"]
    assert unit.index("UMask=0077") < unit.index("[Install]")
    assert [line for line in unit if line.startswith("ExecStartPre=")] == ["ExecStartPre=/bin/a", "ExecStartPre=/bin/b"]
