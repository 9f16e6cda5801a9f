"""What a part of host_parts comes to that fails in a way which nobody has foreseen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baton.release.plugins.module_utils.part import Part, do


def fall_over(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    raise OSError(28, f"check mode {check_mode}, {len(params)} options")


def test_what_nobody_has_foreseen_is_the_part_that_fails_and_not_the_others() -> None:
    module = cast("AnsibleModule", SimpleNamespace(check_mode=True, no_log_values=set()))
    said = do(Part({}, fall_over), {}, module)
    assert (said["failed"], said["msg"]) == (True, "OSError: [Errno 28] check mode True, 0 options")
    assert "fall_over" in said["exception"]
