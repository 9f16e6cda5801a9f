"""lb_switch: the states beside the switch itself, on a load balancer that nothing need answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.part_lb_switch import ARGUMENT_SPEC, run

NOBODY = "http://127.0.0.1:1"


def ask(directory: Path, state: str, **more: Any) -> dict[str, Any]:
    params = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
    params |= {"state_dir": str(directory), "state": state, "app_name": "shop"}
    params |= {"admin": NOBODY, "preview": {"blue": NOBODY, "green": NOBODY}, **more}
    return run(params, check_mode=False)


def test_a_load_balancer_that_is_fenced_refuses_an_older_lease(tmp_path: Path) -> None:
    assert ask(tmp_path, "fenced", token=2)["newest_token"] == 2
    with pytest.raises(BatonError, match="has seen lease 2"):
        ask(tmp_path, "live", slot="blue", min_up=0, token=1)
    with pytest.raises(BatonError, match="has seen lease 2"):
        ask(tmp_path, "fenced", token=1)
    assert not (tmp_path / "live").exists()


def test_under_the_fence_a_plan_for_something_else_is_refused_in_words(tmp_path: Path) -> None:
    assert ask(tmp_path, "fenced", token=2, expected="none")["live"] == "none"
    with pytest.raises(BatonError) as refusal:
        ask(tmp_path, "fenced", token=3, expected="blue")
    # A rollback without its state host has no lease.
    with pytest.raises(BatonError, match="none is live on this load balancer"):
        ask(tmp_path, "gathered", expected="blue")
    for part in ("Found: none is live", "Expected: blue, as it was when the plan was made", "run again"):
        assert part in str(refusal.value)
    assert ask(tmp_path, "gathered")["newest_token"] == 3


def test_an_older_lease_prepares_no_seats(tmp_path: Path) -> None:
    ask(tmp_path, "fenced", token=2)
    with pytest.raises(BatonError, match="has seen lease 2"):
        ask(tmp_path, "prepared", servers={"app1": "127.0.0.1:1"}, token=1)
    assert not (tmp_path / "seats").exists()


def test_a_name_that_would_lead_out_of_the_seats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BatonError, match="each names a file"):
        ask(tmp_path / "state", "prepared", servers={"../live": "127.0.0.1:1"})
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("state", "options", "found"),
    [
        ("held", {"hold_limit": 0}, "hold_limit 0"),
        ("held", {"hold_limit": 601}, "hold_limit 601"),
        ("maintenance", {"retry_after": 0}, "retry_after 0"),
        ("maintenance", {"drain": -1.0}, "drain -1"),
        ("servers", {"slot": "blue", "server_states": {}}, r"server_states \{\} for slot blue"),
        ("servers", {"slot": "mixed", "server_states": {"app1": "drain"}}, "for slot mixed"),
        ("servers", {"slot": None, "server_states": {"app1": "drain"}}, "for slot None"),
        ("servers", {"slot": "blue", "server_states": {"app1": "down"}}, "'app1': 'down'"),
        ("servers", {"slot": "blue", "server_states": {"app1": "drain"}, "reasons": {"app1": "x"}}, "reasons"),
        ("servers", {"slot": "blue", "server_states": {"app1": "maint"}, "reasons": {"app2": "x"}}, "reasons"),
        ("servers", {"slot": "blue", "server_states": {"app1": "maint"}, "reasons": {"app1": ""}}, "reasons"),
    ],
)
def test_what_makes_no_sense_for_the_door_or_a_server_is_refused(
    tmp_path: Path, state: str, options: dict[str, Any], found: str
) -> None:
    with pytest.raises(BatonError, match=found):
        ask(tmp_path / "state", state, driver="haproxy", **options)
    assert not (tmp_path / "state").exists()
