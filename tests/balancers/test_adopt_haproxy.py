# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the check says of HAProxys that people have configured themselves; and that what it says is enough, and nothing too much."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest

from tests.balancers.adopting import digest, lacking, make
from tests.balancers.running_own_haproxy import OWN, RunningOwnHAProxy


@pytest.fixture
def own(haproxy_command: str, tmp_path: Path) -> typing.Iterator[RunningOwnHAProxy]:
    running = RunningOwnHAProxy(haproxy_command, tmp_path)
    try:
        yield running
    finally:
        running.close()


def test_what_it_says_is_enough_and_interrupts_nobody(own: RunningOwnHAProxy) -> None:
    own.start()
    found = own.check()
    print("".join(one.as_text() for one in found.values()))
    assert lacking(found) == {"files", "map", "configuration", "global", "running", "preview blue", "preview green", "entry"}
    make(found)
    print(own.own.read_text())
    own.reload()
    found = own.check()
    print("".join(one.as_text() for one in found.values()))
    assert lacking(found) == set()
