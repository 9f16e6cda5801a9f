"""Loaded by every Python that a test starts: what a module's zip holds is compiled once, and not twice in every process.

Ansible sends each module with all that it imports as a zip of sources. ``zipimport`` keeps nothing of what it compiles, and compiles
every file a second time just to learn its name: half of the processor time of a playbook on this machine. What is compiled is kept
here by the digest of the source, so the tests run the same code.

And garbage is collected more rarely: a worker that Ansible forks copies every page that its collector writes to, which is a sixth of
what is left.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib.util
import marshal
import os
import zipimport
from pathlib import Path
from types import CodeType
from typing import Any

_COMPILED = os.environ.get("BATON_TEST_COMPILED")
_compile_source: Any = zipimport._compile_source  # type: ignore[attr-defined]  # typeshed leaves it out


def _compile_once(pathname: str, source: bytes) -> CodeType:
    digest = hashlib.sha256(importlib.util.MAGIC_NUMBER + source).hexdigest()
    kept = Path(_COMPILED or "", digest)
    with contextlib.suppress(OSError, ValueError, EOFError):
        code: CodeType = marshal.loads(kept.read_bytes())  # noqa: S302  # written below
        return code
    code = _compile_source(pathname, source)
    # The disk may be full: that is what some tests are about.
    with contextlib.suppress(OSError):
        fresh = kept.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(marshal.dumps(code))
        fresh.replace(kept)
    return code


if _COMPILED:
    gc.set_threshold(100_000, 50, 100)
    with contextlib.suppress(OSError):
        Path(_COMPILED).mkdir(parents=True, exist_ok=True)
        zipimport._compile_source = _compile_once  # type: ignore[attr-defined]  # as above
