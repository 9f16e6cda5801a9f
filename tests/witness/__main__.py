# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The client outside: ``run`` sends and writes down, beside a command where one is given; ``judge`` reads and judges.

Exit codes: 0 well; 1 what was seen does not pass; 2 not possible; 3 the command failed, and what was seen passes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import sys
import typing
from pathlib import Path

from tests.witness.beside import run_beside
from tests.witness.checker import judge
from tests.witness.client import Client
from tests.witness.ledger import LedgerError, LedgerWriter, load
from tests.witness.options import MAX_SECONDS, Options, UsageError, allow_descriptors, loopback_target
from tests.witness.process import Witness, WitnessError
from tests.witness.report import report

WELL, NOT_PASSED, NOT_POSSIBLE, COMMAND_FAILED = range(4)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    at = words.index("--") if "--" in words else len(words)
    options = _parser().parse_args(words[:at])
    try:
        return int(options.command(options, words[at + 1 :]))
    except (UsageError, LedgerError, WitnessError) as error:
        print(f"witness: {error}", file=sys.stderr)
        return NOT_POSSIBLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.witness", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser(
        "run",
        help="send requests at a fixed rate and write down each one",
        usage="%(prog)s --url URL --ledger FILE [options] (--seconds SECONDS | -- COMMAND...)",
    )
    run.set_defaults(command=_run)
    _add_traffic(run)
    run.add_argument("--seconds", type=float, help="send for so long at most; needed where there is no COMMAND")
    run.add_argument("--parent", type=int, help="end when this process, which must be the starter, is gone")
    run.add_argument("--before", type=float, default=1.0, help="seconds of good traffic before COMMAND (%(default)g)")
    run.add_argument("--after", type=float, default=1.0, help="seconds of traffic after COMMAND (%(default)g)")
    _add_limits(run)
    judged = commands.add_parser("judge", aliases=["check"], help="judge a ledger")
    judged.set_defaults(command=_judge)
    judged.add_argument("ledger", type=Path)
    judged.add_argument("--from", type=float, dest="t0", help="begin of the window, Unix seconds")
    judged.add_argument("--to", type=float, dest="t1", help="end of the window, Unix seconds")
    _add_limits(judged)
    return parser


def _add_traffic(run: argparse.ArgumentParser) -> None:
    run.add_argument("--url", required=True, help="http://127.0.0.1:PORT; other machines are refused")
    run.add_argument("--ledger", required=True, type=Path, help="new file for the records")
    run.add_argument("--rate", type=float, default=150.0, help="requests per second in total (%(default)g)")
    run.add_argument("--path", action="append", dest="paths", help="path to GET; repeatable (/)")
    run.add_argument("--post", action="append", nargs=2, metavar=("PATH", "JSON"), dest="posts", default=[])
    run.add_argument("--post-share", type=float, default=0.2, help="share of the POSTs, 0 to 1 (%(default)g)")
    run.add_argument("--connections", type=int, default=16, help="kept-alive connections (%(default)d)")
    run.add_argument("--timeout", type=float, default=5.0, help="seconds for one request (%(default)g)")
    proof = "PROOF is digest (the answer's own Content-Digest), sha256:HEX or bytes:NUMBER; repeatable"
    run.add_argument(
        "--download", action="append", nargs=2, metavar=("PATH", "PROOF"), dest="downloads", default=[], help=proof
    )
    run.add_argument("--streams", type=int, default=2, help="downloads at once (%(default)d)")
    run.add_argument("--pace", type=float, default=65536.0, help="bytes per second that one reads (%(default)g)")
    run.add_argument("--download-timeout", type=float, default=60.0, help="seconds for a download (%(default)g)")
    run.add_argument(
        "--websocket", action="append", dest="websockets", default=[], help="path that repeats texts; repeatable"
    )
    run.add_argument("--talkers", type=int, default=4, help="WebSockets at once (%(default)d)")
    run.add_argument("--talk-seconds", type=float, default=10.0, help="how long one is held (%(default)g)")
    run.add_argument("--talk-interval", type=float, default=0.5, help="seconds from message to message (%(default)g)")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("what passes")
    limits.add_argument("--expect-version", action="append", default=[], help="only these may answer; repeatable")
    limits.add_argument("--allow-5xx-of", help="the bad version, whose own 5xx are not the release's failures")
    limits.add_argument(
        "--allow-4xx", action="append", type=int, default=[], help="status that is expected; repeatable"
    )


def _options(arguments: argparse.Namespace, command: list[str]) -> Options:
    if (arguments.seconds is None) != bool(command):
        raise UsageError("found both --seconds and a command after --, or neither; expected one of them")
    if not command and (arguments.expect_version or arguments.allow_5xx_of or arguments.allow_4xx):
        raise UsageError("without a command nothing is judged here; give what passes to judge, afterwards")
    return Options(
        target=loopback_target(arguments.url),
        seconds=arguments.seconds or MAX_SECONDS,
        rate=arguments.rate,
        paths=tuple(arguments.paths or ["/"]),
        posts=tuple((path, body) for path, body in arguments.posts),
        post_share=arguments.post_share,
        connections=arguments.connections,
        timeout=arguments.timeout,
        downloads=tuple((path, proof) for path, proof in arguments.downloads),
        streams=arguments.streams,
        pace=arguments.pace,
        download_timeout=arguments.download_timeout,
        websockets=tuple(arguments.websockets),
        talkers=arguments.talkers,
        talk_seconds=arguments.talk_seconds,
        talk_interval=arguments.talk_interval,
    )


def _run(arguments: argparse.Namespace, command: list[str]) -> int:
    options = _options(arguments, command)
    allow_descriptors(options)
    return _beside(arguments, options, command) if command else _alone(arguments, options)


def _alone(arguments: argparse.Namespace, options: Options) -> int:
    client = Client(options, LedgerWriter(arguments.ledger), parent=arguments.parent)
    asyncio.run(_run_until_told(client, arguments.url, options.rate))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = max(client.sending_seconds, 0.001)
    share = 100 * (usage.ru_utime + usage.ru_stime) / seconds
    counts = [f"{status}: {count}" for status, count in sorted(client.statuses.items())]
    counts += [f"{kind}: {count}" for kind, count in sorted(client.errors.items())]
    print(
        f"witness: {client.sent} requests in {seconds:.1f} s, {client.sent / seconds:.1f} per second"
        f"{f', {client.skipped} skipped while starved' if client.skipped else ''};"
        f" {', '.join(counts) or 'no answers'}; cpu {share:.1f} % of one core",
        flush=True,
    )
    return WELL


async def _run_until_told(client: Client, url: str, rate: float) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, client.stop)
    print(f"witness: pid {os.getpid()} sends to {url} at {rate:g} per second", flush=True)
    await client.run()


def _beside(arguments: argparse.Namespace, options: Options, command: list[str]) -> int:
    witness = Witness.of(arguments.url, arguments.ledger, options)
    code = run_beside(witness, command, before=arguments.before, after=arguments.after)
    print(f"witness: {command[0]} ended with {code}", flush=True)
    passed = _passed(arguments, None, None)
    return NOT_PASSED if not passed else COMMAND_FAILED if code else WELL


def _judge(arguments: argparse.Namespace, command: typing.Sequence[str]) -> int:
    if command:
        raise UsageError("found a command after --; expected one only with run")
    return WELL if _passed(arguments, arguments.t0, arguments.t1) else NOT_PASSED


def _passed(arguments: argparse.Namespace, t0: float | None, t1: float | None) -> bool:
    ledger = load(arguments.ledger)
    verdict = judge(
        ledger,
        t0,
        t1,
        allow_5xx_of=arguments.allow_5xx_of,
        expect_versions=arguments.expect_version,
        allow_4xx=arguments.allow_4xx,
        whole=True,
    )
    for line in report(ledger, verdict, arguments.ledger):
        print(line, flush=True)
    return verdict.ok


if __name__ == "__main__":
    sys.exit(main())
