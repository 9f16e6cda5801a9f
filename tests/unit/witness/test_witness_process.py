# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The witness as a process: started, judged from the command line, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import typing
from pathlib import Path

import pytest

from tests.unit.witness.servers import Side, closed_port, response, serving, witnessed
from tests.witness.__main__ import main
from tests.witness.checker import failures
from tests.witness.ledger import load
from tests.witness.process import ROOT, Witness, WitnessError

if typing.TYPE_CHECKING:
    import socket


def good(connection: socket.socket, _number: int) -> bool:
    """Answer well, but not at once."""
    time.sleep(0.02)
    connection.sendall(response())
    return True


def is_alive(pid: int) -> bool:
    """Tell whether the process runs; a dead one that nobody has waited for does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_good_run_is_seen_flowing_stopped_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ledger.jsonl"
    with serving(good) as url, Witness(url, path, posts=[("/orders", '{"n": 1}')]) as witness:
        witness.wait_until_flowing()
        assert len(witness.snapshot()) > 0
        pid = witness.pid
        ledger = witness.stop()

    words = witness.log_path.read_text(encoding="utf-8").splitlines()
    assert failures(ledger) == []
    assert not ledger.torn
    assert not is_alive(pid)
    assert words[0] == f"witness: pid {pid} sends to {url} at 150 per second"
    assert f"{len(ledger)} requests in " in words[1]
    assert main(["judge", str(path), "--expect-version", "v1"]) == 0
    assert capsys.readouterr().out.endswith("PASS\n")
    assert main(["judge", str(path), "--expect-version", "v2"]) == 1
    assert f"wrong version: {path}:1: {{" in capsys.readouterr().out


def test_the_older_name_of_judge_still_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(good) as url:
        witnessed(url, tmp_path)

    assert main(["check", str(tmp_path / "ledger.jsonl")]) == 0
    assert capsys.readouterr().out.endswith("PASS\n")


def test_downloads_and_websockets_are_asked_for_and_told_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ledger.jsonl"
    lasting: dict[str, typing.Any] = {"downloads": [("/big", "bytes:2")], "streams": 3, "pace": 1000.0}
    lasting |= {
        "download_timeout": 9.0,
        "websockets": ["/echo"],
        "talkers": 2,
        "talk_seconds": 0.2,
        "talk_interval": 0.1,
    }
    with serving(good) as url, Witness(url, path, **lasting) as witness:
        witness.wait_until_flowing()
        assert witness.snapshot().messages
        ledger = witness.stop()

    assert len({record.connection for record in ledger if record.kind == "slow"}) >= 3
    assert {socket.version for socket in ledger.sockets} == {"v1"}
    assert ledger.end is not None
    assert main(["judge", str(path)]) == 0
    output = capsys.readouterr().out
    assert " downloads of up to 2 bytes and " in output
    assert f"  {len(ledger.sockets)} WebSockets ({len(ledger.sockets)} to v1) of up to " in output


def test_a_service_without_websockets_is_not_flowing_where_they_are_asked_for(tmp_path: Path) -> None:
    def refuses(side: Side) -> None:
        side.close(1013)

    with (
        serving(good, refuses) as url,
        Witness(url, tmp_path / "l.jsonl", websockets=["/echo"]) as witness,
        pytest.raises(WitnessError, match="not got answers"),
    ):
        witness.wait_until_flowing(0.5)


def test_check_charges_the_bad_version_only_when_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(connection: socket.socket, number: int) -> bool:
        connection.sendall(response(500 if number > 1 else 200, version="bad"))
        return True

    with serving(answer) as url:
        failed = failures(witnessed(url, tmp_path))
    path = tmp_path / "ledger.jsonl"

    assert main(["check", str(path)]) == 1
    output = capsys.readouterr().out
    assert f"FAIL: {len(failed)} requests failed\n" in output
    assert all(f"failed: {path}:{record.line}: {record.as_json()}\n" in output for record in failed)
    assert main(["check", str(path), "--allow-5xx-of", "other"]) == 1
    assert main(["check", str(path), "--allow-5xx-of", "bad"]) == 0
    assert f"failed by the bad version: {len(failed)}\nPASS\n" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    received: list[int] = []

    def slow(connection: socket.socket, request: int) -> bool:
        received.append(request)
        time.sleep(0.1)
        connection.sendall(response())
        return True

    with serving(slow) as url, Witness(url, tmp_path / "ledger.jsonl") as witness:
        witness.wait_until_flowing()
        os.kill(witness.pid, number)
        ledger = witness.stop()

    assert failures(ledger) == []
    assert len(ledger) == len(received)


def test_no_process_is_left_when_the_test_fails(tmp_path: Path) -> None:
    witness = Witness(closed_port(), tmp_path / "l.jsonl")

    with pytest.raises(ZeroDivisionError), witness:
        raise ZeroDivisionError

    assert not is_alive(witness.pid)


def test_no_process_is_left_when_the_starter_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tests.witness.process import Witness\n"
        "with Witness(sys.argv[1], Path(sys.argv[2])) as witness:\n"
        "    print(witness.pid, flush=True); time.sleep(30)\n"
    )
    path = tmp_path / "l.jsonl"
    with serving(good) as url:
        command = [sys.executable, "-c", script, url, str(path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as starter:
            assert starter.stdout is not None
            pid = int(starter.stdout.readline())
            assert is_alive(pid)
            starter.kill()
        deadline = time.monotonic() + 5
        while is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_alive(pid)

    assert not load(path).torn


def test_a_client_that_does_not_stop_is_killed_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.witness.process.STOP_MARGIN_SECONDS", 0.1)
    with serving(good) as url, Witness(url, tmp_path / "l.jsonl", timeout=0.1) as witness:
        os.kill(witness.pid, signal.SIGSTOP)
        with pytest.raises(WitnessError, match="ended with -9"):
            witness.stop()

    assert not is_alive(witness.pid)


def test_waiting_for_a_dead_service_ends_with_words(tmp_path: Path) -> None:
    with Witness(closed_port(), tmp_path / "l.jsonl") as witness:
        with pytest.raises(WitnessError, match=r"not got answers within 0\.1 s.*sends to"):
            witness.wait_until_flowing(0.1)
        assert {record.error_kind for record in witness.stop()} == {"refused"}


def test_a_client_that_refuses_to_start_says_why(tmp_path: Path) -> None:
    witness = Witness("http://192.0.2.1:80", tmp_path / "l.jsonl")

    with pytest.raises(WitnessError, match="not a loopback address"), witness:
        witness.wait_until_flowing()
    assert not (tmp_path / "l.jsonl").exists()


def test_a_witness_that_was_not_started_says_so(tmp_path: Path) -> None:
    with pytest.raises(WitnessError, match="was not started"):
        Witness("http://127.0.0.1:80", tmp_path / "l.jsonl").stop()


def test_too_many_connections_are_refused_before_a_ledger_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 256))
    path = tmp_path / "l.jsonl"

    assert main(["run", "--url", "http://127.0.0.1:9", "--ledger", str(path), "--seconds", "1"]) == 2
    assert "lower --rate or --timeout" in capsys.readouterr().err
    assert not path.exists()


def test_check_without_a_ledger_is_not_a_judgement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "missing.jsonl")]) == 2
    assert "cannot be read" in capsys.readouterr().err
