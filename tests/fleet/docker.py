"""The commands of docker that the fleet needs, and what it says when one fails."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

SECONDS = 120.0
"""Longer than any command takes on a busy machine, but building an image."""


def docker(*arguments: str, given: bytes | None = None, seconds: float = SECONDS) -> str:
    """Run a command of docker and return what it prints.

    Args:
        arguments: the command and its arguments.
        given: what it reads from its input.
        seconds: how long it may take.

    Raises:
        BatonError: it failed, or took longer.
    """
    done = attempt(*arguments, given=given, seconds=seconds)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise BatonError(
            found=f"docker {' '.join(arguments[:3])} failed: {' '.join(lines[-3:])}",
            expected="a command that the engine carries out",
            fix="see python -m tests.fleet doctor",
        )
    return done.stdout.decode(errors="replace").strip()


def attempt(
    *arguments: str, given: bytes | None = None, seconds: float = SECONDS
) -> subprocess.CompletedProcess[bytes]:
    """Run a command of docker that may fail, and return how it went.

    Raises:
        BatonError: there is no docker, or it took longer than ``seconds``.
    """
    # The client's newer builder is a plugin of its own that Debian does not bring along.
    environment = {**os.environ, "DOCKER_BUILDKIT": "0", "DOCKER_CLI_HINTS": "false"}
    # Without an input of its own a command must not read ours.
    source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if given is None else {"input": given}
    try:
        return subprocess.run(
            ["docker", *arguments], env=environment, capture_output=True, timeout=seconds, check=False, **source
        )
    except FileNotFoundError as error:
        raise BatonError(
            found="no docker on PATH", expected="Docker 20.10 or newer", fix="install docker.io"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BatonError(
            found=f"docker {' '.join(arguments[:3])} took longer than {seconds:.0f} s",
            expected="an engine that answers",
            fix="look at the engine's log, .cache/engine/dockerd.log",
        ) from error


def inspect(kind: str, name: str) -> dict[str, Any] | None:
    """Return what the engine knows of an object (``container``, ``network``, ``image``), or None where there is none."""
    done = attempt(kind, "inspect", name)
    if done.returncode != 0:
        return None
    (known,) = json.loads(done.stdout)
    return dict(known)


def labelled(kind: str, label: str) -> list[str]:
    """Return the ids of the objects (``container``, ``network``) with a label, running or not."""
    every = ["--all"] if kind == "container" else []
    return docker(kind, "ls", "--quiet", *every, "--filter", f"label={label}").split()
