"""A Python that has imported what every Ansible module imports: a fork of it becomes the module that a connection asks for.

``python -m tests.speed.warm_python SOCKET`` serves until its standard input ends. A module comes as Ansible pipes it to a Python, with
all that it imports in its zip, and gets what it would get there: environment, directory, umask and output of who asks. What is there
already is Ansible's own ``basic`` with what that imports, and this collection's ``module_utils`` but those that need other libraries, as
they were when this was started: two thirds of the processor time of most modules. That all of it is in the zip is seen on the fleets.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
import types
from pathlib import Path
from typing import NoReturn

_PRELOADED = (
    "ansible.module_utils._internal._ansiballz._loader",
    "base64",
    "http.client",
    "tempfile",
    "urllib.request",
    "zipfile",
)
_COLLECTIONS = Path(__file__).resolve().parents[2] / "playbooks" / "collections"
_PACKAGES = ("ansible_collections", "baton", "release", "plugins", "module_utils")
_LENGTH = struct.Struct("!Q")
_CODE = struct.Struct("!i")


def run(address: str, script: bytes, outputs: tuple[int, int]) -> socket.socket:
    """Have the script run with the two outputs; ``ended`` tells its exit code."""
    asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    asking.connect(address)
    umask = os.umask(0)
    os.umask(umask)
    head = json.dumps({"environment": dict(os.environ), "directory": str(Path.cwd()), "umask": umask}).encode()
    socket.send_fds(asking, [_LENGTH.pack(len(head))], list(outputs))
    asking.sendall(head)
    asking.sendall(script)
    asking.shutdown(socket.SHUT_WR)
    return asking


def ended(asking: socket.socket) -> int:
    """Wait until the script has ended, and return its exit code: that of a kill, if it says none."""
    with asking, asking.makefile("rb") as answer:
        said = answer.read(_CODE.size)
    code: int = _CODE.unpack(said)[0] if len(said) == _CODE.size else -signal.SIGKILL
    return code


def _serve(address: str) -> None:
    _preload()
    gc.freeze()  # what is frozen is never written to by a collector, so all forks share it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(address)
        listening.listen(64)
        while sys.stdin not in select.select([sys.stdin, listening], [], [])[0]:
            asked, _ = listening.accept()
            with asked:
                if os.fork() == 0:
                    listening.close()
                    _become(asked)


def _preload() -> None:
    for name in _PRELOADED:
        importlib.import_module(name)
    sys.path.insert(0, str(_COLLECTIONS))
    for path in sorted(_COLLECTIONS.joinpath(*_PACKAGES).glob("[!_]*.py")):
        importlib.import_module(".".join((*_PACKAGES, path.stem)))
    sys.path.remove(str(_COLLECTIONS))
    # A module finds the packages in its zip, as it would elsewhere, and so whatever is not here.
    for depth in range(len(_PACKAGES)):
        del sys.modules[".".join(_PACKAGES[: depth + 1])]


def _become(asked: socket.socket) -> NoReturn:
    prefix, descriptors, _, _ = socket.recv_fds(asked, _LENGTH.size, 2)
    with asked.makefile("rb") as request:
        head = json.loads(request.read(_LENGTH.unpack(prefix)[0]))
        script = request.read()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(head["environment"])
    time.tzset()
    os.umask(head["umask"])
    os.chdir(head["directory"])
    for target, descriptor in zip((0, 1, 2), (os.open(os.devnull, os.O_RDONLY), *descriptors), strict=True):
        os.dup2(descriptor, target)
        os.close(descriptor)
    code = _execute(script)
    with contextlib.suppress(OSError):  # nobody waits any more
        asked.sendall(_CODE.pack(code))
    os._exit(code & 0xFF)


def _execute(script: bytes) -> int:
    main = types.ModuleType("__main__")
    sys.modules["__main__"], sys.argv[:] = main, [""]
    code = 0
    try:
        exec(compile(script, "<stdin>", "exec"), main.__dict__)  # noqa: S102  # what Ansible pipes to a Python
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:  # noqa: BLE001  # as the interpreter itself would
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    _serve(sys.argv[1])
