"""A worker that must exist once, and the diary in which each one writes when it begins and ends, in a directory that containers share."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.containers.host import PATIENCE_SECONDS

__all__ = ["INSIDE", "Diary"]

INSIDE = "/diary"
"""Where a container has to see the directory of the diary."""
WORKER = """\
import json, os, signal, sys, time
def say(what):
    own = dict(os.environ, what=what, cwd=os.getcwd(), uid=os.getuid())
    with open("/diary/entries", "a") as diary:
        diary.write(json.dumps(own) + "\\n")
def end(*_):
    time.sleep(0.3)
    say("end")
    os._exit(0)
if not sys.argv[1:]:
    signal.signal(signal.SIGTERM, end)
say("begin")
if sys.argv[1:]:
    say("end")
    sys.exit(f"no queue, and no way with {os.environ.get('SECRET')}")
time.sleep(3600)
"""


class Diary:
    """The diary in ``directory``, in which any user may write."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        directory.chmod(0o777)

    def worker(self, *, crashes: bool = False, **more: Any) -> dict[str, Any]:
        """Return what slot_singletons says of a worker; one that crashes does so at once."""
        return {"command": ["python3", "-c", WORKER, *(["crash"] if crashes else [])], **more}

    def entries(self) -> list[dict[str, Any]]:
        """Return all entries: the environment of the worker, ``what``, ``cwd`` and ``uid``."""
        path = self.directory / "entries"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def there(self) -> list[tuple[str, str]]:
        """Return version and slot of the one that has begun and not ended; fails where there ever were two."""
        there: list[dict[str, Any]] = []
        for one in self.entries():
            if one["what"] == "begin":
                assert not there, f"{one['BATON_VERSION']} began beside {there[0]['BATON_VERSION']}"
                there.append(one)
            else:
                assert [one["HOSTNAME"]] == [before["HOSTNAME"] for before in there]
                there.clear()
        return [(one["BATON_VERSION"], one["BATON_SLOT"]) for one in there]

    def until(self, version: str, slot: str) -> None:
        """Wait until the one of this version and slot has begun: only then does it end in good order."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.there() != [(version, slot)]:
            assert time.monotonic() < deadline, self.entries()
            time.sleep(0.05)

    def versions(self) -> list[str]:
        """Return the versions whose workers have begun, one after the other."""
        seen: list[str] = []
        for one in self.entries():
            version = one["BATON_VERSION"]
            seen += [version] if one["what"] == "begin" and [version] != seen[-1:] else []
        return seen
