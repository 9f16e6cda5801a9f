# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The workers of a HAProxy that the role ``haproxy`` configures, and the map that each of them looks up at every request.

The map holds a word for the app (what is live) and one for ``<app>.door``. It is in the memory of each worker, and in the file
``haproxy.map``, which HAProxy begins with.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text, write_atomically
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import Runtime, SilentError, Worker
from ansible_collections.baton.release.plugins.module_utils.haproxy_view import View, map_value, servers

__all__ = ["HANDOVER", "Workers"]

OLDEST = (2, 4)
HANDOVER = "handover"
"""In the map of a worker that is older than a reload: it hands each request to the newest worker."""


@dataclass(frozen=True)
class Workers:
    """All workers that can be reached through a socket, the app's name in their configuration, and their files."""

    admin: Path
    app_name: str
    state_dir: Path
    timeout: float = 5.0

    @property
    def runtime(self) -> Runtime:
        """What they are told through."""
        return Runtime(self.admin, self.timeout)

    @property
    def map_file(self) -> Path:
        """The file of the map, which is also its name in a worker."""
        return self.state_dir / "haproxy.map"

    @property
    def door_key(self) -> str:
        """The key of the door in the map."""
        return f"{self.app_name}.door"

    def views(self) -> dict[Worker, View]:
        """Return what each worker has, the newest one first; an older one may end meanwhile.

        Raises:
            SilentError: the newest one does not answer.
        """
        seen = {worker: self.view(worker) for worker in self.runtime.workers()}
        return {worker: view for worker, view in seen.items() if view is not None}

    def view(self, worker: Worker) -> View | None:
        """Return what a worker has; None for an older one that has ended meanwhile.

        Raises:
            SilentError: it is the newest one, and does not answer.
        """
        runtime = self.runtime
        try:
            if worker.current:
                _refuse_old(runtime.ask(worker, "show info"))
            live, door = (
                map_value(runtime.ask(worker, f"get map {self.map_file} {key}"))
                for key in (self.app_name, self.door_key)
            )
            found = servers(runtime.ask(worker, "show servers state"), runtime.ask(worker, "show stat"))
            return View(live, door, found)
        except SilentError:
            if worker.current:
                raise
            return None

    def map_word(self, worker: Worker, view: View, key: str, word: str) -> None:
        """Have a worker find ``word`` in its map from now on."""
        known = view.door if key == self.door_key else view.live
        self.runtime.do(worker, f"{'set' if known else 'add'} map {self.map_file} {key} {word}")

    def hand_over(self, worker: Worker, view: View) -> bool:
        """Have an older worker hand its requests to the newest one, which alone decides; say whether it can.

        One that began before this app was configured has nothing to hand over.
        """
        if view.live is None:
            return True
        if f"{self.app_name}_{HANDOVER}" not in view.backends:
            return False
        if view.live != HANDOVER:
            self.map_word(worker, view, self.app_name, HANDOVER)
        if view.door:
            self.map_word(worker, view, self.door_key, "open")
        return True

    def handed_over(self, view: View) -> bool:
        """Say whether a worker that is older than a reload decides nothing any more."""
        return view.live is None or (view.live == HANDOVER and view.door in (None, "", "open"))

    def knows(self, view: View, what: str) -> bool:
        """Say whether the configuration of a worker can do ``what``: it has a server of this name, which is reached by nobody."""
        return what in view.backends.get(f"{self.app_name}_knows", {})

    def kept(self) -> dict[str, str]:
        """Return the words that HAProxy would begin with, by their keys."""
        words = (read_text(self.map_file) or "").split()
        return dict(zip(words[::2], words[1::2]))

    def keep(self, key: str, word: str) -> None:
        """Have HAProxy begin with ``word``, and with what it has for other keys."""
        lines = "".join(f"{one} {said}\n" for one, said in {**self.kept(), key: word}.items())
        write_atomically(self.map_file, lines)


def _refuse_old(information: str) -> None:
    lines = dict(line.split(": ", 1) for line in information.splitlines() if ": " in line)
    version = lines.get("Version", "")
    numbers = version.split("-")[0].split(".")[:2]
    if len(numbers) == len(OLDEST) and all(one.isdigit() for one in numbers) and tuple(map(int, numbers)) >= OLDEST:
        return
    raise BatonError(
        found=f"HAProxy {version}" if version else "no HAProxy: its socket does not say its version",
        expected=f"HAProxy {'.'.join(map(str, OLDEST))} or newer",
        fix="install a newer HAProxy, or correct traffic_admin",
    )


def views_or_refuse(workers: Workers, why: str) -> typing.Mapping[Worker, View]:
    """Return what each worker has.

    Raises:
        BatonError: HAProxy does not answer; ``why`` says what needs its answer.
    """
    try:
        return workers.views()
    except SilentError as error:
        raise BatonError(
            found=f"HAProxy does not answer ({error})",
            expected=f"an answer, because {why}",
            fix="look whether HAProxy runs, and at its log; then run again",
        ) from error
