"""The command line of the fleet. Exit codes: 0 done, 1 refused or failed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

from tests.fleet import doctor, engine, lifecycle
from tests.fleet.hosts import Fleet
from tests.fleet.shape import BALANCERS, Shape

__all__ = ["main"]


def main() -> int:
    """Do what was asked for, and say what came of it."""
    options = _parser().parse_args()
    try:
        return int(options.do(options))
    except BatonError as error:
        print(error, file=sys.stderr)
        return 1


def _say(text: str) -> None:
    print(f"== {text}", flush=True)


def _up(options: argparse.Namespace) -> int:
    began = time.monotonic()
    shape = Shape(app=options.app, lb=options.lb, balancer=options.balancer, bao=options.bao)
    fleet = lifecycle.up(shape, name=options.name, root=options.root, say=_say)
    _say(f"The fleet {fleet.name} is up after {time.monotonic() - began:.0f} s")
    for host in fleet.hosts.values():
        print(f"   {host.name:8} {host.address:15} {fleet.url(host.name) if host.port else ''}".rstrip())
    print(f"   ansible-playbook -i {os.path.relpath(fleet.inventory)} ...")
    return 0


def _down(options: argparse.Namespace) -> int:
    gone = lifecycle.down(name=options.name, root=options.root)
    _say(f"The fleet {options.name} is gone" if gone else f"There is no fleet {options.name}")
    if options.engine:
        _say(
            "The engine that was started for it has ended" if engine.stop() else "The engine was not started from here"
        )
    return 0


def _idle(_: argparse.Namespace) -> int:
    if engine.stop_idle():
        _say("The engine that was started for the fleet has ended")
    return 0


def _doctor(_: argparse.Namespace) -> int:
    findings = doctor.examine()
    for finding in findings:
        print(f"{'ok     ' if finding.good else 'MISSING'} {finding.text}")
    return 0 if all(finding.good for finding in findings) else 1


def _ssh(options: argparse.Namespace) -> int:
    fleet = Fleet(lifecycle.place(options.name, options.root))
    command = fleet.ssh_command(options.host, *options.command)
    os.execvp(command[0], command)  # noqa: S606 - ssh takes over the terminal


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fleet", description="Hosts with systemd and sshd, as containers."
    )
    commands = parser.add_subparsers(required=True)
    up = commands.add_parser("up", help="make a fleet, or what is missing of it")
    up.add_argument("--app", type=int, default=3, help="app hosts (3)")
    up.add_argument("--lb", type=int, default=2, help="load balancers (2)")
    up.add_argument("--balancer", choices=sorted(BALANCERS), default="haproxy", help="what the balancers run (haproxy)")
    up.add_argument("--bao", action="store_true", help="also a host with OpenBao")
    up.set_defaults(do=_up)
    down = commands.add_parser("down", help="take a fleet away")
    down.add_argument("--engine", action="store_true", help="and end the engine, if it was started for the fleet")
    down.set_defaults(do=_down)
    ssh = commands.add_parser("ssh", help="log in to a host, or run a command there")
    ssh.add_argument("host")
    ssh.add_argument("command", nargs=argparse.REMAINDER)
    ssh.set_defaults(do=_ssh)
    for command in (up, down, ssh):
        command.add_argument("--name", default=lifecycle.DEFAULT, help="the name of the fleet (%(default)s)")
        command.add_argument("--root", type=Path, help="its directory (one in .cache)")
    commands.add_parser(
        "idle", help="end the engine, if it was started for a fleet and has none any more"
    ).set_defaults(do=_idle)
    commands.add_parser("doctor", help="say what the fleet needs, and what of it is there").set_defaults(do=_doctor)
    return parser
