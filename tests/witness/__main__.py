# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Command line: ``run`` sends and writes down, ``check`` judges. Exit codes: 0 well, 1 failed, 2 not possible."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import resource
import signal
import sys
import typing
from pathlib import Path

from tests.witness.checker import Verdict, judge, switches
from tests.witness.client import Client
from tests.witness.ledger import Ledger, LedgerError, LedgerWriter, Record, load
from tests.witness.options import Options, UsageError, allow_descriptors, loopback_target

MAX_SHOWN = 50


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except (UsageError, LedgerError) as error:
        print(f"witness: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.witness", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="send requests at a fixed rate and write down each one")
    run.set_defaults(command=_run)
    run.add_argument("--url", required=True, help="http://127.0.0.1:PORT; other machines are refused")
    run.add_argument("--ledger", required=True, type=Path, help="new file for the records")
    run.add_argument("--seconds", required=True, type=float, help="send for so long at most")
    run.add_argument("--rate", type=float, default=150.0, help="requests per second in total (%(default)g)")
    run.add_argument("--path", action="append", dest="paths", help="path to GET; repeatable (/)")
    run.add_argument("--post", action="append", nargs=2, metavar=("PATH", "JSON"), dest="posts", default=[])
    run.add_argument("--post-share", type=float, default=0.2, help="share of the POSTs, 0 to 1 (%(default)g)")
    run.add_argument("--connections", type=int, default=16, help="kept-alive connections (%(default)d)")
    run.add_argument("--timeout", type=float, default=5.0, help="seconds for one request (%(default)g)")
    run.add_argument("--parent", type=int, help="end when this process, which must be the starter, is gone")
    check = commands.add_parser("check", help="judge a ledger")
    check.set_defaults(command=_check)
    check.add_argument("ledger", type=Path)
    check.add_argument("--expect-version", action="append", default=[], help="only these may answer; repeatable")
    check.add_argument("--allow-5xx-of", help="the bad version, whose own 5xx are not the release's failures")
    check.add_argument("--allow-4xx", action="append", type=int, default=[], help="status that is expected; repeatable")
    check.add_argument("--from", type=float, dest="t0", help="begin of the window, Unix seconds")
    check.add_argument("--to", type=float, dest="t1", help="end of the window, Unix seconds")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    options = Options(
        target=loopback_target(arguments.url),
        seconds=arguments.seconds,
        rate=arguments.rate,
        paths=tuple(arguments.paths or ["/"]),
        posts=tuple((path, body) for path, body in arguments.posts),
        post_share=arguments.post_share,
        connections=arguments.connections,
        timeout=arguments.timeout,
    )
    allow_descriptors(options)
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
    return 0


async def _run_until_told(client: Client, url: str, rate: float) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, client.stop)
    print(f"witness: pid {os.getpid()} sends to {url} at {rate:g} per second", flush=True)
    await client.run()


def _check(arguments: argparse.Namespace) -> int:
    ledger = load(arguments.ledger)
    verdict = judge(
        ledger,
        arguments.t0,
        arguments.t1,
        allow_5xx_of=arguments.allow_5xx_of,
        expect_versions=arguments.expect_version,
        allow_4xx=arguments.allow_4xx,
    )
    for line in _report(ledger, verdict):
        print(line)
    for title, records in (("failed", verdict.failed_by_release), ("wrong version", verdict.wrong_version)):
        for line in _offending(title, arguments.ledger, records):
            print(line)
    print("PASS" if verdict.ok else f"FAIL: {'; '.join(verdict.reasons)}")
    return 0 if verdict.ok else 1


def _report(ledger: Ledger, verdict: Verdict) -> typing.Iterator[str]:
    yield f"{verdict.requests} requests from {_clock(verdict.t0)} to {_clock(verdict.t1)}"
    for version, count in sorted(verdict.versions.items(), key=lambda item: item[1].first):
        yield (
            f"  {version or '(no version)'}: {count.requests} answers, {count.status_5xx} of them 5xx,"
            f" from {_clock(count.first)} to {_clock(count.last)}"
        )
    for switch in switches(ledger.window(verdict.t0, verdict.t1)):
        yield f"  {switch.before} -> {switch.after} at {_clock(switch.began)}, settled at {_clock(switch.settled)}"
    if verdict.latency is not None:
        times = verdict.latency
        yield f"  p50 {times.p50:.1f} ms, p95 {times.p95:.1f} ms, p99 {times.p99:.1f} ms, max {times.max:.1f} ms"
    yield f"  longest time without a success: {verdict.gap.seconds:.3f} s, from {_clock(verdict.gap.start)}"
    yield f"  failed by the release: {len(verdict.failed_by_release)}"
    yield f"  failed by the bad version: {len(verdict.failed_by_bad_version)}"
    if ledger.torn:
        yield "  the last line was torn and is left out"


def _offending(title: str, path: Path, records: list[Record]) -> typing.Iterator[str]:
    for record in records[:MAX_SHOWN]:
        yield f"{title}: {path}:{record.line}: {record.as_json()}"
    if len(records) > MAX_SHOWN:
        yield f"{title}: and {len(records) - MAX_SHOWN} more"


def _clock(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, tz=datetime.UTC).strftime("%H:%M:%S.%f")[:-3]


if __name__ == "__main__":
    sys.exit(main())
