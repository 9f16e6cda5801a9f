# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The one place that imports the optional library docker: its floor, what to install, and what the refusals of an engine mean.

It is imported when an engine is first asked, so that no other runtime needs it. (docker 5.0 to 7, https://docker-py.readthedocs.io)
"""

from __future__ import annotations

import contextlib
import sys
import time
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["Engine", "GoneError"]

_FLOOR = (5, 0)
_SECONDS, _TRANSFER_SECONDS = 60, 900
_LONGEST_MESSAGE = 400
_NOT_FOUND = 404
_ENDING, _ENDING_SECONDS, _ENDING_PAUSE = "not running", 5.0, 0.1
_ENGINE = "a docker engine on this host, which the user of this task may ask"

Found = typing.Mapping[str, typing.Any]


class GoneError(BatonError):
    """The engine does not know what it was asked about."""


class Engine:
    """The docker engine of this host: at its usual socket, or where DOCKER_HOST says."""

    def __init__(self) -> None:
        """Connect.

        Raises:
            BatonError: the library is missing or too old, or no engine answers.
        """
        self._sdk, self._requests = _imported()
        with self._understood("its version"):
            self._client = self._sdk.APIClient(version="auto", timeout=_SECONDS, **self._sdk.utils.kwargs_from_env())

    def container(self, name: str) -> Found | None:
        """Return what the engine knows of a container, None where there is none."""
        with contextlib.suppress(GoneError), self._understood(f"the container {name}"):
            return dict(self._client.inspect_container(name))
        return None

    def image(self, name: str) -> Found | None:
        """Return what the engine knows of an image on this host, None where there is none."""
        with contextlib.suppress(GoneError), self._understood(f"the image {name}"):
            return dict(self._client.inspect_image(name))
        return None

    def load(self, archive: Path) -> list[str]:
        """Load the images in an archive of ``docker save``; return what the engine says of them."""
        said: list[str] = []
        with self._understood(f"docker load of {archive}"), self._patiently(), archive.open("rb") as stream:
            # Asked for progress, the engine answers all the time, however long it takes.
            for one in self._client.load_image(stream, quiet=False):
                if "error" in one:
                    raise _refused(f"docker load of {archive}", one["error"])
                said += [str(one["stream"]).strip()] if "Loaded" in str(one.get("stream")) else []
        return said

    def pull(self, name: str) -> None:
        """Fetch an image from the registry that its name begins with, with the login of this user."""
        with self._understood(f"docker pull {name}"), self._patiently():
            for one in self._client.pull(name, stream=True, decode=True):
                if "error" in one:
                    raise _refused(f"docker pull {name}", one["error"])

    def create(self, name: str, image: str, *, host: Found, **config: typing.Any) -> None:
        """Create a container; ``host`` and ``config`` are options of the library's create_host_config and create_container."""
        with self._understood(f"docker create of {name}"):
            made = self._client.create_host_config(**host)
            self._client.create_container(image, name=name, host_config=made, **config)

    def start(self, name: str) -> None:
        """Start a container."""
        with self._understood(f"docker start {name}"):
            self._client.start(name)

    def stop(self, name: str, seconds: int) -> None:
        """Stop a container, which may take so many seconds to end; return when it has ended."""
        with self._understood(f"docker stop {name}"):
            self._client.stop(name, timeout=seconds)

    def remove(self, name: str) -> None:
        """Remove a container that does not run, with the volumes that its image had made for it alone."""
        with self._understood(f"docker rm {name}"):
            self._client.remove_container(name, v=True)

    def set_restart(self, name: str, policy: str) -> None:
        """Set when the engine starts a container by itself.

        The engine refuses that, and undoes it, while a container ends: one that crashes again and again may do so at any time.
        """
        deadline = time.monotonic() + _ENDING_SECONDS
        with self._understood(f"docker update {name}"):
            while not self._restart_set(name, policy, insist=time.monotonic() >= deadline):
                time.sleep(_ENDING_PAUSE)

    def _restart_set(self, name: str, policy: str, *, insist: bool) -> bool:
        try:
            self._client.update_container(name, restart_policy={"Name": policy})
        except self._sdk.errors.APIError as error:
            if insist or _ENDING not in str(error.explanation):
                raise
            return False
        return True

    def last_lines(self, name: str, count: int) -> str:
        """Return the last lines that a container has written."""
        with self._understood(f"docker logs {name}"):
            said: bytes = self._client.logs(name, stdout=True, stderr=True, tail=count)
        return said.decode(errors="replace").rstrip("\n")

    @contextlib.contextmanager
    def _patiently(self) -> typing.Iterator[None]:
        before, self._client.timeout = self._client.timeout, _TRANSFER_SECONDS
        try:
            yield
        finally:
            self._client.timeout = before

    @contextlib.contextmanager
    def _understood(self, what: str) -> typing.Iterator[None]:
        """Turn what the library raises into what a person understands."""
        errors = self._sdk.errors
        try:
            yield
        except errors.APIError as error:
            said = _shown(error.explanation or error)
            if getattr(error.response, "status_code", 0) == _NOT_FOUND:
                raise GoneError(
                    found=f"docker does not know {what}: {said}", expected="that it is there", fix="run again"
                ) from error
            raise _refused(what, said) from error
        except (errors.DockerException, self._requests.exceptions.RequestException, OSError) as error:
            raise _silent(what, error) from error


def _imported() -> tuple[typing.Any, typing.Any]:
    try:
        import docker  # noqa: PLC0415 - see above
        import requests  # noqa: PLC0415 - what docker is made of
    except ImportError as error:
        raise BatonError(
            found=f"no Python package docker for {sys.executable} ({error})",
            expected=f"docker >= {'.'.join(map(str, _FLOOR))} on the hosts with app_runtime docker",
            fix=f"install python3-docker there, or docker for that Python ({sys.executable} -m pip install docker); nothing was touched",
        ) from error
    # A directory called docker beside the task is a package too, and an empty one.
    version = str(getattr(docker, "__version__", "") or getattr(getattr(docker, "version", None), "version", "0"))
    numbers = tuple(int(part) if part.isdigit() else 0 for part in version.split(".")[:2])
    if numbers < _FLOOR:
        raise BatonError(
            found=f"the Python package docker {version} for {sys.executable}",
            expected=f"docker >= {'.'.join(map(str, _FLOOR))}",
            fix="upgrade python3-docker, or that package with pip; nothing was touched",
        )
    return docker, requests


def _refused(what: str, said: object) -> BatonError:
    return BatonError(
        found=f"docker refuses {what}: {_shown(said)}",
        expected="an engine that does it",
        fix="look at what it says, and run again",
    )


def _silent(what: str, error: Exception) -> BatonError:
    said = _shown(error)
    if "Permission denied" in said or "PermissionError" in said:
        fix = "let this task run as root (ansible_become: true for the app hosts), or as a user of the group docker"
        return BatonError(found=f"this user may not ask the docker engine ({said})", expected=_ENGINE, fix=fix)
    if "http+docker" in said:
        fix = "upgrade the package docker to 7.1 or newer, or put requests back below 2.32"
        return BatonError(
            found=f"the Python packages docker and requests do not go together ({said})", expected=_ENGINE, fix=fix
        )
    fix = "start it (systemctl start docker) and look at its log (journalctl -u docker), then run again"
    return BatonError(found=f"no docker engine answers when asked for {what} ({said})", expected=_ENGINE, fix=fix)


def _shown(said: object) -> str:
    return " ".join(str(said).split())[:_LONGEST_MESSAGE]
