"""One run of ansible-playbook, with its progress on the terminal and its whole output in a log."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Run", "run_playbook"]

ROOT = Path(__file__).resolve().parents[2]
TASK = re.compile(r"^TASK \[(?:baton\.release\.)?(.+?)\] \**$")
CLEAR_LINE = "\r\033[K"


@dataclass(frozen=True)
class Run:
    """A playbook that ran: when it began and ended (Unix seconds), its exit code, and where its output is."""

    began: float
    ended: float
    code: int
    log: Path

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


def run_playbook(name: str, *arguments: str, log: Path, quiet: bool = False) -> Run:
    """Run ``playbooks/<name>.yml`` on the embedded environment and show its messages as they come.

    Args:
        name: of the playbook.
        arguments: more of them for ansible-playbook.
        log: file for its whole output.
        quiet: show the progress only, not the messages.
    """
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        f"playbooks/{name}.yml",
        "-i",
        "inventories/local",
        *arguments,
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.time()
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        screen = _Screen(began, quiet=quiet)
        for line in process.stdout or ():
            stream.write(line)
            screen.show(line.rstrip("\n"))
        code = process.wait()
        screen.clear()
    return Run(began, time.time(), code, log)


class _Screen:
    """Which task runs now, on one line that is written over; and what ``msg:`` says, for good."""

    def __init__(self, began: float, *, quiet: bool) -> None:
        self.began = began
        self.quiet = quiet
        self.terminal = sys.stdout.isatty()
        self.indent: int | None = None  # of the message that is being shown

    def show(self, line: str) -> None:
        task = TASK.match(line)
        if task:
            self.indent = None
            if self.terminal:
                words = f"   {time.time() - self.began:5.1f} s  {task.group(1)}"
                print(f"{CLEAR_LINE}{words[:110]}", end="", flush=True)
        elif not self.quiet:
            self._message(line)

    def clear(self) -> None:
        if self.terminal:
            print(CLEAR_LINE, end="", flush=True)

    def _message(self, line: str) -> None:
        depth = len(line) - len(line.lstrip())
        if line.strip().startswith("msg:"):
            self.indent = depth
            text = line.strip().removeprefix("msg:").strip().strip("'\"")
            if text not in ("", "|-", "|", ">-"):
                self._print(text)
        elif self.indent is not None and line.strip() and depth > self.indent:
            self._print(line[self.indent + 4 :])
        else:
            self.indent = None

    def _print(self, text: str) -> None:
        self.clear()
        print(f"     {text}", flush=True)
