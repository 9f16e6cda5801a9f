# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What each kind of line in Caddy's log is taken for; the lines are shaped like those that Caddy 2.11.7 wrote."""

from __future__ import annotations

import json
import typing

import pytest
from ansible_collections.baton.release.plugins.module_utils.access_log_caddy import CaddyAccessLog
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

if typing.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.baton.release.plugins.module_utils.traffic import Request

AGENT = "our-probe"


def entry(
    status: object = 200, duration: object = 0.0125, *, agent: str = "curl", port: str = "1", **more: object
) -> str:
    request = {"remote_ip": "::1", "remote_port": port, "method": "GET", "uri": "/", "headers": {"User-Agent": [agent]}}
    fields = {"msg": "handled request", "ts": 1795421236.5, "request": request, "status": status, "duration": duration}
    return json.dumps({**fields, "slot": "green", "entry": "public", **more})


def aborting(error: str, port: str = "1") -> str:
    request = {"remote_ip": "::1", "remote_port": port, "method": "GET", "uri": "/"}
    return json.dumps(
        {"msg": "aborting with incomplete response", "request": request, "duration": 0.001, "error": error}
    )


def opened(path: Path, *lines: str, match: dict[str, object] | None = None) -> tuple[CaddyAccessLog, list[Request]]:
    path.write_bytes(b"")
    log = CaddyAccessLog(path, cursor=None, match=match or {}, own_agent=AGENT)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return log, list(log.read())


@pytest.mark.parametrize(
    ("lines", "outcome", "status", "ms"),
    [
        ([entry()], "ok", "200", 12.5),
        ([entry(404)], "ok", "404", 12.5),
        ([entry(101, 30.0)], "ok", "101", None),
        ([entry(500)], "error", "500", 12.5),
        ([entry(502)], "error", "502", 12.5),
        ([entry(499)], "left", "499", 12.5),
        ([entry(0)], "left", "0", 12.5),
        ([entry(0, 0)], "error", "0 cut", None),
        ([entry(200, 0)], "cut", "200 cut", None),
        ([aborting("reading: unexpected EOF"), entry(200, 0)], "error", "200 cut", None),
        ([aborting("reading: context canceled"), entry(200, 0)], "left", "200 cut", None),
        ([aborting("writing: write tcp: broken pipe"), entry(200, 0)], "left", "200 cut", None),
        ([aborting("reading: unexpected EOF", port="2"), entry(200, 0)], "cut", "200 cut", None),
        ([entry(502, agent=AGENT)], "error", "502", 12.5),
    ],
)
def test_outcome(tmp_path: Path, lines: list[str], outcome: str, status: str, ms: float | None) -> None:
    _, (request,) = opened(tmp_path / "log", *lines)
    assert (request.at, request.slot) == (1795421236.5, "green")
    assert (request.outcome, request.status, request.ms) == (outcome, status, ms)


@pytest.mark.parametrize("line", [entry(200, 0, agent=AGENT), entry(499, agent=AGENT), entry(0, 0, agent=AGENT)])
def test_broken_probes_of_our_own_are_left_to_the_one_who_sent_them(tmp_path: Path, line: str) -> None:
    assert opened(tmp_path / "log", line)[1] == []


def test_a_reason_is_used_once(tmp_path: Path) -> None:
    _, requests = opened(tmp_path / "log", aborting("reading: unexpected EOF"), entry(200, 0), entry(200, 0))
    assert [request.outcome for request in requests] == ["error", "cut"]


def test_only_entries_that_match_count(tmp_path: Path) -> None:
    lines = [entry(), entry(entry="preview"), entry(entry=None), entry(slot=None), entry(slot="blue")]
    log, requests = opened(tmp_path / "log", *lines, match={"entry": "public"})
    assert [request.slot for request in requests] == ["green", None, "blue"]
    assert (log.entries, log.matched) == (5, 3)


def test_garbage_and_other_loggers_lines_are_passed_over(tmp_path: Path) -> None:
    lines = [
        "garbage",
        "",
        "[1]",
        '{"level":"warn","msg":"x"}',
        entry("200"),
        entry(200, "1ms"),
        entry(request="?"),
        entry(),
    ]
    log, requests = opened(tmp_path / "log", *lines, "\x00\xff")
    assert len(requests) == 2
    assert log.garbage == 4


def test_reasons_are_not_remembered_for_ever(tmp_path: Path) -> None:
    _, requests = opened(
        tmp_path / "log", *(aborting("reading: EOF", str(port)) for port in range(1500)), entry(200, 0, port="0")
    )
    assert requests[0].outcome == "cut"


def test_a_missing_log_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BatonError, match=r"no readable log at .*'logs'"):
        CaddyAccessLog(tmp_path / "none", cursor=None, match={}, own_agent=AGENT)
