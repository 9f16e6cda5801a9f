# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The policy of a container that ends at that very moment, which a real engine cannot be made to do when a test wants it."""

from __future__ import annotations

import typing
from types import SimpleNamespace

import docker
import pytest
import requests
from ansible_collections.baton.release.plugins.module_utils import _docker
from ansible_collections.baton.release.plugins.module_utils._docker import Engine
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

# As docker 20.10 says it.
ENDING = (
    "Cannot update container f482: runc did not terminate successfully: exit status 1: container not running\n: unknown"
)


def engine(*refusals: str) -> tuple[Engine, list[typing.Any]]:
    """Return an engine that refuses so often, and what it was asked."""
    asked: list[typing.Any] = []

    def update(name: str, restart_policy: typing.Any) -> None:
        asked.append((name, restart_policy["Name"]))
        if len(asked) <= len(refusals):
            raise docker.errors.APIError("500 Server Error", explanation=refusals[len(asked) - 1])

    made = Engine.__new__(Engine)
    made.__dict__.update(_sdk=docker, _requests=requests, _client=SimpleNamespace(update_container=update))
    return made, asked


def test_a_policy_is_set_when_the_container_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_docker, "_ENDING_PAUSE", 0)
    made, asked = engine(ENDING, ENDING)
    made.set_restart("shop-blue", "no")
    assert asked == [("shop-blue", "no")] * 3


@pytest.mark.parametrize(("said", "seconds"), [("out of memory", 5), (ENDING, 0)])
def test_what_is_refused_for_another_reason_or_for_too_long_is_said(
    monkeypatch: pytest.MonkeyPatch, said: str, seconds: float
) -> None:
    monkeypatch.setattr(_docker, "_ENDING_SECONDS", seconds)
    made, asked = engine(said, said)
    with pytest.raises(BatonError, match="docker refuses docker update shop-blue"):
        made.set_restart("shop-blue", "no")
    assert len(asked) == 1
