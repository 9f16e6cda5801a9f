"""A docker engine of a test's own, which may be ended and started again as the boot of a host does; needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.fleet import engine

__all__ = ["OwnEngine"]

SECONDS = 60.0


class OwnEngine:
    """An engine whose files are under ``root``; to be used as a context manager. The environment has to name its socket."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = f"unix://{root}/engine.sock"
        self.bridge = f"baton{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OwnEngine:
        # A bridge of its own, and no rules of a firewall: those are the other engine's.
        for command in (
            f"link add {self.bridge} type bridge",
            f"addr add 172.31.{os.getpid() % 256}.1/24 dev {self.bridge}",
            f"link set {self.bridge} up",
        ):
            subprocess.run(["ip", *command.split()], check=True)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        subprocess.run(["ip", "link", "del", self.bridge], check=True)
        # Where mounts are not shared, each start of the engine mounts its directory once more, over itself.
        while (self.root / "data").is_mount():
            subprocess.run(["umount", str(self.root / "data")], check=True)
        shutil.rmtree(self.root / "data", ignore_errors=True)

    def reboot(self) -> None:
        """End the engine, and with it every container, and start it again."""
        self._end()
        self._start()

    def _start(self) -> None:
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        options = [f"--{option}={self.root / place}" for option, place in places.items()]
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("dockerd", f"--host={self.host}", f"--bridge={self.bridge}", *options),
                    *("--iptables=false", "--ip-forward=false", "--ip-masq=false"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + SECONDS
        while not engine.answers():
            said = (self.root / "log").read_text()[-1000:]
            assert self._process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(SECONDS)
