"""The warm Python does for a script what a fresh one would, and modules of a playbook really go there."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.environment import ROOT, warmly
from tests.speed import warm
from tests.speed.warm_python import ended, run

SEEN = """
import atexit, os, sys
atexit.register(print, "cleaned up")
print(__name__, sys.argv, os.environ["GIVEN"], os.getcwd(), oct(os.umask(0)), repr(sys.stdin.read()))
print("a word", file=sys.stderr)
"""


def answer(script: str) -> tuple[int, str, str]:
    """Return exit code and outputs of a script that the warm Python ran."""
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    asking = run(warm()["BATON_TEST_WARM"], script.encode(), (out_end, err_end))
    os.close(out_end)
    os.close(err_end)
    with open(out) as said, open(err) as complained:  # noqa: PTH123  # of descriptors
        words = said.read(), complained.read()
    return (ended(asking), *words)


def test_a_script_gets_what_a_fresh_python_would_give_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIVEN", "to the script")
    monkeypatch.chdir(tmp_path)
    umask = os.umask(0o027)
    try:
        warmly_said = answer(SEEN)
        done = subprocess.run([sys.executable, "-"], input=SEEN, capture_output=True, text=True, check=False)
    finally:
        os.umask(umask)
    code, out, err = warmly_said
    assert (code, err) == (done.returncode, done.stderr)
    assert out == done.stdout.replace("['-']", "['']")
    assert f"to the script {tmp_path} 0o27 ''" in out
    assert "cleaned up" in out


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param("raise SystemExit(3)", 3, id="a code"),
        pytest.param("raise SystemExit('words')", 1, id="words"),
        pytest.param("import sys; sys.exit()", 0, id="no code"),
        pytest.param("1 / 0", 1, id="an exception"),
        pytest.param("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, id="killed"),
    ],
)
def test_how_a_script_ends_is_told(script: str, code: int) -> None:
    ended_with, _, complained = answer(script)
    assert ended_with == code
    assert ("ZeroDivisionError" in complained) == (script == "1 / 0")


def test_one_script_leaves_nothing_to_the_next() -> None:
    assert answer("import json; json.spoilt = True; import os; os.environ['SPOILT'] = 'yes'")[0] == 0
    assert answer("import json, os; raise SystemExit(hasattr(json, 'spoilt') or 'SPOILT' in os.environ)")[0] == 0


@pytest.mark.parametrize(("address", "works"), [(None, True), ("/nonexistent/socket", False)])
def test_modules_of_a_playbook_go_there(tmp_path: Path, address: str | None, works: bool) -> None:
    """Where there is no such socket they fail: none is started in another way unnoticed."""
    variables = {**os.environ, **warmly(tmp_path), **({"BATON_TEST_WARM": address} if address else {})}
    ping = f"{Path(sys.executable).with_name('ansible')} -i one, all -c severable -m ansible.builtin.ping"
    given = ["-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run(
        [*shlex.split(ping), *given], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == works, done.stdout
    assert works or "FileNotFoundError" in done.stdout + done.stderr or "No such file" in done.stdout + done.stderr
