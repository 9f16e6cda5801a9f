"""Hostile inputs, and how a module is called with them: whole, from its arguments in JSON to its result, and watched.

Python's own audit events tell what was written and what was started, so a payload needs no luck to be noticed.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.testing import patch_module_args
from ansible_collections.baton.release.plugins.modules import app_slot
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

__all__ = [
    "ADDRESSES",
    "ANYTHING",
    "CANARY",
    "FLOATS",
    "INPUTS",
    "MODULES",
    "NUMBERS",
    "PAYLOADS",
    "SCALARS",
    "SECONDS",
    "SEEN",
    "SINGLETONS",
    "TEXTS",
    "VERSIONS",
    "WATCHMAN",
    "assert_seen",
    "call",
    "hostile",
    "paths",
    "spoiled",
]

# How many inputs each test has to see; together they are the promise.
INPUTS = {
    "app_slot": 400,
    "db_migrate": 250,
    "health_wait": 150,
    "host_parts": 150,
    "lb_adopt_info": 150,
    "lb_switch": 150,
    "release_journal": 200,
    "release_lock": 200,
    "secret_fetch": 250,
    "traffic_watch": 150,
    "release_plan": 300,
    "release_settings": 500,
    "how the run was started": 100,
    "run script": 100,
}
CANARY = "canary"
PAYLOADS = [
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"; touch {CANARY} #",
    f"x\ntouch {CANARY}\n",
    f"'; touch {CANARY}; '",
    f'"; touch {CANARY}; "',
    f"| touch {CANARY}",
    f"& touch {CANARY} &",
    f"{{{{ lookup('pipe', 'touch {CANARY}') }}}}",
    f"{{% if lookup('pipe', 'touch {CANARY}') %}}{{% endif %}}",
    "{# x #}",
    "{{ undefined_name }}",
    "../x",
    "../../../x",
    "..",
    ".",
    "/",
    "a/b",
    "-rf",
    "--help",
    "-x",
    "",
    " ",
    "\0",
    "v1\0",
    "\n",
    "\r\n",
    "\t",
    "\x1b[31m",
    "é",
    "\u202e",
    "x" * 5000,
    "%(ENV_HOME)s",
    "%n%s%d",
    "${HOME}",
    "~",
    "~root",
    "*",
    "latest",
    "no",
    "010",
    "1.10",
    "12:30:45",
    "1e999",
    "nan",
    "[main]\nevil=1",
    "http://[",
    "http://127.0.0.1:1/ x",
    "file:///etc/passwd",
    "http://user:pw@127.0.0.1:1",
    "http://127.0.0.1:99999",
    "ftp://127.0.0.1",
]
TEXTS = st.sampled_from(PAYLOADS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.sampled_from([0, -1, 1, 2, 65_535, 65_536, 10**12, -(10**12), 10**30]) | st.integers(-10, 70_000)
FLOATS = st.sampled_from([0.0, -1.0, 1e-9, 1e308, math.nan, math.inf, -math.inf]) | st.floats(0, 2)
# A lone surrogate cannot reach a module: Ansible itself refuses arguments that are no UTF-8.
SCALARS = TEXTS | NUMBERS | FLOATS | st.booleans() | st.none()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
VERSIONS = st.sampled_from(["v1.0.0", "v1.1.0"]) | TEXTS
# Nothing that a test would have to wait for: a time that is not refused is short.
SECONDS = st.sampled_from([math.nan, math.inf, -math.inf, -1, 0, 0.01, 10**30, "x", "", None])
ADDRESSES = st.sampled_from(
    ["http://127.0.0.1:1", *(text for text in PAYLOADS if "127.0.0.1" in text or not text.isalnum())]
)
SINGLETONS = st.dictionaries(
    st.sampled_from(["mailer", "mail-worker", "blue"]) | TEXTS,
    st.fixed_dictionaries(
        {},
        optional={
            "command": st.lists(st.just("true") | TEXTS, max_size=2) | ANYTHING,
            "stop_seconds": NUMBERS | ANYTHING,
            "host": TEXTS | ANYTHING,
        },
    )
    | ANYTHING,
    max_size=2,
)
SEEN: Counter[str] = Counter()
DONE: Counter[str] = Counter()
MODULES = {path.stem for path in Path(app_slot.__file__).parent.glob("*.py")} - {"release_plan", "release_settings"}


class Watchman:
    """Notes what Python is about to write, remove or start, while it is on duty."""

    WRITES = ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.chown")
    MOVES = ("os.rename", "os.link", "os.symlink")
    STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn")

    def __init__(self) -> None:
        self.written: list[str] = []
        self.started: list[str] = []
        self.on_duty = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, details: tuple[Any, ...]) -> None:
        if not self.on_duty:
            return
        if event == "open" and isinstance(details[0], (str, bytes)):
            if details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.written.append(os.fsdecode(details[0]))
        elif event in self.WRITES and isinstance(details[0], (str, bytes, os.PathLike)):
            self.written.append(os.fsdecode(details[0]))
        elif event in self.MOVES:
            self.written += [os.fsdecode(one) for one in details[:2] if isinstance(one, (str, bytes, os.PathLike))]
        elif event in self.STARTS:
            self.started.append(f"{event} {details[:2]!r}")

    @contextlib.contextmanager
    def watching(self, root: Path, *, may_start: str = "") -> Iterator[None]:
        """Have nothing written outside of ``root``, nothing started but ``may_start``, and no canary anywhere."""
        self.written, self.started, self.on_duty = [], [], True
        try:
            yield
        finally:
            self.on_duty = False
        here = os.path.realpath(root)
        outside = [path for path in self.written if not os.path.realpath(path).startswith(here) and path != os.devnull]
        assert not outside, outside
        assert not [one for one in self.started if not (may_start and may_start in one)], self.started
        assert not list(root.rglob(CANARY))


WATCHMAN = Watchman()


def hostile(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a test see its number of inputs, the same ones each time."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        return settings(
            max_examples=INPUTS[name],
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )(test)

    return decorate


def assert_seen(name: str) -> None:
    """Assert that a test has seen its inputs, and that not all of them were turned away at the door."""
    assert SEEN[name] >= INPUTS[name]
    assert DONE[name] or name not in MODULES


def paths(sandbox: Path, name: str) -> st.SearchStrategy[Any]:
    """Paths that stay in the sandbox, or are no paths."""
    inside = st.sampled_from(
        [
            f"{name}",
            f"{name} with blanks",
            f"{name}'quote",
            f"{name}$(touch {CANARY})",
            f"{name}/../{name}",
            f"{name}\n",
            f"{name}\0",
            "é%s",
            "a-file/x",
            "x" * 300,
            "é" * 200,
        ]
    )
    return st.one_of(
        inside.map(lambda last: f"{sandbox}/{last}"), st.sampled_from(["", "\0", "x\0y", "relative", "../up"])
    )


def call(name: str, module: Any, arguments: dict[str, Any], *, may_start: str = "") -> dict[str, Any]:
    """Run a module as Ansible does, whole and watched; return its result."""
    SEEN[name] += 1
    output = io.StringIO()
    ended = None
    given = {key: value for key, value in arguments.items() if value is not None}
    with (
        patch_module_args(json.loads(json.dumps(given))),
        contextlib.redirect_stdout(output),
        WATCHMAN.watching(Path.cwd().parents[3], may_start=may_start),
    ):
        try:
            module.main()
        except SystemExit as end:
            ended = end.code
    result: dict[str, Any] = json.loads(output.getvalue())
    assert ended is not None, "the module did not end as modules do"
    assert "exception" not in result, result
    assert "Traceback" not in output.getvalue()
    DONE[name] += not result.get("failed")
    if result.get("failed"):
        said = result["msg"]
        # Either in our words, or in those of Ansible's own check of arguments, which comes first.
        ours = all(word in said for word in ("Found: ", ". Expected: ", ". To do: "))
        assert ours or any(
            word in said
            for word in (
                "cannot be converted",
                "unable to convert",
                "missing",
                "must be one of",
                "is required",
                "mutually exclusive",
                "Unsupported",
                "Elements value",
                "could not be converted",
            )
        ), said
    return result


def spoiled(good: dict[str, Any], bad: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Good arguments of which up to three are hostile, so that each gets as deep as it can; None stands for no argument."""

    def spoil(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries(
            {**{name: st.just(value) for name, value in good.items()}, **{name: bad[name] for name in names}}
        )

    return st.lists(st.sampled_from(sorted(bad)), max_size=3, unique=True).flatmap(spoil)
