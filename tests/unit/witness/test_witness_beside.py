# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The tool beside a command: traffic from before it to after it, and the verdict in the exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import typing
from pathlib import Path

import pytest

from tests.unit.witness.servers import closed_port, response, serving
from tests.witness.__main__ import main
from tests.witness.ledger import load
from tests.witness.process import ROOT

if typing.TYPE_CHECKING:
    import socket

QUICK = ("--before", "0.2", "--after", "0.2")


def good(connection: socket.socket, _number: int) -> bool:
    """Answer well."""
    connection.sendall(response())
    return True


def run(url: str, directory: Path, *arguments: str) -> list[str]:
    """Return the arguments of a run with a ledger in ``directory``."""
    return ["run", "--url", url, "--ledger", str(directory / "l.jsonl"), *QUICK, *arguments]


def python(script: str, *arguments: str) -> list[str]:
    """Return a command, as it is given at the end."""
    return ["--", sys.executable, "-c", script, *arguments]


def test_traffic_flows_from_before_the_command_until_after_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = tmp_path / "times"
    script = "import sys, time; b = time.time(); time.sleep(0.3); open(sys.argv[1], 'w').write(f'{b} {time.time()}')"
    lasting = ("--websocket", "/echo", "--download", "/big", "bytes:2")
    with serving(good) as url:
        code = main(run(url, tmp_path, *lasting, "--expect-version", "v1", *python(script, str(times))))

    began, ended = map(float, times.read_text(encoding="ascii").split())
    ledger = load(tmp_path / "l.jsonl")
    assert code == 0
    assert capsys.readouterr().out.endswith("PASS\n")
    assert sum(record.end < began for record in ledger) >= 10
    assert sum(record.start > ended for record in ledger) >= 10
    assert {record.kind for record in ledger} == {"kept", "fresh", "slow"}
    assert any(socket.start < began for socket in ledger.sockets)


def test_what_fails_while_the_command_runs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken"

    def fails_at_times(connection: socket.socket, _number: int) -> bool:
        connection.sendall(response(503 if path.exists() else 200))
        return True

    script = "import os, sys, time; p = sys.argv[1]; open(p, 'w').close(); time.sleep(0.3); os.unlink(p)"
    with serving(fails_at_times) as url:
        code = main(run(url, tmp_path, *python(script, str(path))))

    failed = [record for record in load(tmp_path / "l.jsonl") if record.status == 503]
    output = capsys.readouterr().out
    assert code == 1
    assert f"FAIL: {len(failed)} requests failed" in output
    assert f"failed: {tmp_path}/l.jsonl:{failed[0].line}: {failed[0].as_json()}\n" in output


@pytest.mark.parametrize(
    ("script", "ended", "code"),
    [("import sys; sys.exit(5)", 5, 3), ("import os; os.kill(os.getpid(), 9)", 137, 3), ("", 0, 0)],
)
def test_the_command_may_fail_and_no_request_with_it(
    script: str, ended: int, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(good) as url:
        assert main(run(url, tmp_path, *python(script))) == code

    output = capsys.readouterr().out
    assert f" ended with {ended}\n" in output
    assert output.endswith("PASS\n")


def test_the_words_of_the_command_are_left_alone(tmp_path: Path) -> None:
    script = "import sys; sys.exit(sys.argv[1:] != ['--url', 'x', '--', '--rate'])"
    with serving(good) as url:
        assert main(run(url, tmp_path, *python(script, "--url", "x", "--", "--rate"))) == 0


def test_a_command_that_is_not_there_is_not_a_judgement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(good) as url:
        assert main(run(url, tmp_path, "--", "/nonexistent/command")) == 2
    assert "'/nonexistent/command' cannot be run" in capsys.readouterr().err
    assert load(tmp_path / "l.jsonl").end is not None


def test_no_command_is_run_where_nothing_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.witness.beside.FLOWING_SECONDS", 0.3)
    marker = tmp_path / "ran"

    assert main(run(closed_port(), tmp_path, "--", "touch", str(marker))) == 2
    assert "not got answers" in capsys.readouterr().err
    assert not marker.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seconds", "1", "--", "true"], "both --seconds and a command"),
        ([], "or neither"),
        (["--seconds", "1", "--expect-version", "v1"], "nothing is judged here"),
        (["--download", "/a", "hope", "--", "true"], "expected digest"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(run("http://127.0.0.1:9", tmp_path, *arguments)) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "l.jsonl").exists()
    assert main(["judge", str(tmp_path / "l.jsonl"), "--", "true"]) == 2
    assert "only with run" in capsys.readouterr().err


def test_a_signal_reaches_the_command_and_what_was_seen_is_judged(tmp_path: Path) -> None:
    started = tmp_path / "started"
    script = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(60)"
    with serving(good) as url:
        command = [sys.executable, "-m", "tests.witness", *run(url, tmp_path, *python(script, str(started)))]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as tool:
            while not started.exists():
                assert tool.poll() is None
                time.sleep(0.02)
            tool.send_signal(signal.SIGINT)
            tool.send_signal(signal.SIGTERM)
            output, _ = tool.communicate(timeout=30)

    assert tool.returncode == 3
    assert " ended with 143\n" in output
    assert output.endswith("PASS\n")
