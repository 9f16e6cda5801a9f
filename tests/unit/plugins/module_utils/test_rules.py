"""The options of a module are held to their rules."""

from __future__ import annotations

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.rules import FILE, refuse_unfit


@pytest.mark.parametrize("value", ["/srv/../etc", "srv", ["/srv", "/srv/../etc"]])
def test_an_option_that_breaks_its_rule_is_refused(value: object) -> None:
    with pytest.raises(BatonError, match="app_root: "):
        refuse_unfit({"app_root": value}, {"app_root": FILE})


@pytest.mark.parametrize("value", ["/srv", ["/srv", "/opt"], None])
def test_an_option_that_keeps_it_or_has_no_value_is_accepted(value: object) -> None:
    refuse_unfit({"app_root": value}, {"app_root": FILE})
