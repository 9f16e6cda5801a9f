"""Release the example shop for real, under traffic, and judge it by what a client outside wrote down.

    python -m examples.demo          # what "make demo" runs after its set-up

Exit code 0 only if every step ended as it should and no request was lost to a release.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from examples.demo.playbook import ROOT, Run, run_playbook
from examples.demo.report import Step, table
from tests.witness.checker import judge
from tests.witness.ledger import Ledger
from tests.witness.process import Witness

HOME = Path(os.environ.get("BATON_LOCAL_ROOT") or ROOT / ".local").resolve()
LOGS = HOME / "demo"
WHEELS = ROOT / ".cache" / "wheels"
"""The dependencies of the shop, downloaded by the set-up."""
RATE = 100
VERSIONS = ("v1.0.0", "v1.1.0", "v1.2.0", "v1.2.1")
BAD = "v1.2.0"
WATCH_SLICE_SECONDS = 2.5
SETTLED_SECONDS = 0.5
"""Requests in flight when a playbook ends belong to its step."""


def say(text: str = "") -> None:
    """Print at once, also where the output is no terminal."""
    print(text, flush=True)


def prepare(builders: concurrent.futures.Executor) -> tuple[Step, list[concurrent.futures.Future[Run]]]:
    """Start a fresh embedded environment and build v1.0.0; the builds of the later versions go on meanwhile."""
    began = time.time()
    say(f"== A fresh environment in {HOME}")
    if (HOME / "hosts").exists():
        must(run_playbook("embedded_down", "-e", "embedded_wipe=true", log=LOGS / "down.log", quiet=True))
    repository = [sys.executable, "examples/shop/make_repository.py", str(HOME / "shop-repository")]
    subprocess.run(repository, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    builds = [builders.submit(build, version) for version in VERSIONS]
    must(run_playbook("embedded_up", log=LOGS / "up.log", quiet=True))
    say("   three app hosts, Caddy and PostgreSQL run")
    await_build(VERSIONS[0], builds[0])
    return Step("a fresh environment, and the build of v1.0.0", time.time() - began), builds[1:]


def build(version: str) -> Run:
    """Build the artifact of ``version``."""
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(WHEELS)} if WHEELS.is_dir() else {}
    settings = {"release_version": version, "build_environment": offline}
    return run_playbook("build", "-e", json.dumps(settings), log=LOGS / f"build-{version}.log", quiet=True)


def await_build(version: str, building: concurrent.futures.Future[Run]) -> None:
    """Wait for a build, and say what it made."""
    must(building.result())
    manifest = json.loads((HOME / "artifacts" / f"shop-{version}.json").read_text(encoding="utf-8"))
    say(f"   built {version}: sha256 {manifest['sha256'][:16]}..., {manifest['size'] / 1e6:.1f} MB")


def must(run: Run) -> None:
    """Give up when a step failed without which there is no demo."""
    if run.code != 0:
        tail = "\n".join(run.log.read_text(encoding="utf-8").splitlines()[-25:])
        raise SystemExit(f"{tail}\n\nThis failed; the whole output is in {run.log}")


def step(title: str, playbook: str, *arguments: str, fails: bool = False) -> tuple[Step, Run]:
    """Run one playbook under traffic; ``fails`` is whether it should."""
    say(f"\n== {title}")
    name = title.split(":", maxsplit=1)[0].replace(" ", "-")
    run = run_playbook(playbook, *arguments, log=LOGS / f"{time.strftime('%H%M%S')}-{name}.log")
    done = Step(title, run.seconds)
    if (run.code != 0) != fails:
        done.problems.append(f"exit code {run.code}; the whole output is in {run.log}")
    say(
        f"   {'failed, as it should' if fails and run.code else 'done' if run.code == 0 else 'FAILED'} after {run.seconds:.1f} s"
    )
    return done, run


def release(version: str, *, slices: int = 1) -> tuple[str, ...]:
    """Return the arguments of a release of ``version`` that is watched for some ``slices``."""
    watch = {"watch_slice_seconds": WATCH_SLICE_SECONDS, "watch_seconds": slices * WATCH_SLICE_SECONDS}
    return ("release", "-e", f"release_version={version}", "-e", json.dumps(watch))


def under_traffic() -> list[tuple[Step, Run, str, str | None]]:
    """Go forward, fail, go back and forward again; return each step with the version that must answer in the end."""
    return [
        (*step("release v1.1.0: with a migration", *release("v1.1.0", slices=2)), "v1.1.0", None),
        (
            *step("release v1.2.0: a bad one, sent back by the watch", *release(BAD, slices=2), fails=True),
            "v1.1.0",
            BAD,
        ),
        (
            *step("rollback to v1.0.0: warm, both slots are taken", "rollback", "-e", "rollback_version=v1.0.0"),
            "v1.0.0",
            None,
        ),
        (*step("release v1.1.0 again: hot, it still runs", *release("v1.1.0")), "v1.1.0", None),
        (
            *step(
                "release v1.2.1: rolling, one host after the other",
                *release("v1.2.1"),
                "-e",
                "release_strategy=rolling",
            ),
            "v1.2.1",
            None,
        ),
    ]


def judged(steps: list[tuple[Step, Run, str, str | None]], ledger: Ledger) -> list[Step]:
    """Judge each step by the ledger of the client outside."""
    for index, (done, run, version, bad) in enumerate(steps):
        until = steps[index + 1][1].began if index + 1 < len(steps) else run.ended + SETTLED_SECONDS
        done.verdict = judge(ledger, run.began, until, allow_5xx_of=bad)
        done.problems += done.verdict.reasons
        last = {str(record.version) for record in ledger.started(run.ended - SETTLED_SECONDS, until)}
        if last != {version}:
            done.problems.append(f"in the end {', '.join(sorted(last)) or 'nothing'} answered, expected only {version}")
        if bad:
            done.problems += unproven(ledger, run, bad)
    return [done for done, *_ in steps]


def unproven(ledger: Ledger, run: Run, bad: str) -> list[str]:
    """Show for how long ``bad`` answered after its first error; say when it showed none."""
    answers = [record for record in ledger.started(run.began, run.ended) if record.version == bad]
    errors = [
        record.end for record in answers if record.status is not None and record.status >= 500
    ]  # HTTP's server errors
    if not errors:
        return [f"{bad} showed no error, so nothing was proven"]
    exposed = max(record.end for record in answers) - errors[0]
    say(
        f"\n   {bad}: {len(answers)} answers, {len(errors)} errors; {exposed:.1f} s from its first error to its last answer"
    )
    return []


def main() -> int:
    """Run the demo; return its exit code."""
    shutil.rmtree(LOGS, ignore_errors=True)
    began = time.time()
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as builders:
        ready, builds = prepare(builders)
        first, run = step("release v1.0.0: the first one, while the later ones are built", *release("v1.0.0"))
        must(run)
        for version, building in zip(VERSIONS[1:], builds, strict=True):
            await_build(version, building)
    steps = [ready]
    ports = json.loads((HOME / "ports.json").read_text(encoding="utf-8"))
    url = f"http://127.0.0.1:{ports['lb1']['public']}"
    ledger_path = LOGS / "ledger.jsonl"
    say(f"\n== A client outside sends {RATE} requests a second to {url} from now on, and writes down each of them")
    with Witness(
        url,
        ledger_path,
        seconds=600,
        rate=RATE,
        paths=("/", "/products"),
        posts=[("/orders", '{"product_id": 1, "quantity": 1}')],
    ) as witness:
        witness.wait_until_flowing()
        travelled = under_traffic()
        time.sleep(SETTLED_SECONDS)
        ledger = witness.stop()
    steps += [first, *judged(travelled, ledger)]
    problems = [f"{done.title}: {problem}" for done in steps for problem in done.problems]
    say(f"\n{table(steps)}")
    say(
        f"\n   {len(ledger.records)} requests in all, each of them in {ledger_path}; the demo took {time.time() - began:.0f} s"
    )
    for problem in problems:
        say(f"   DID NOT HOLD: {problem}")
    say(
        f"""
   Still running: three app hosts, Caddy and PostgreSQL, in {HOME}
     look around   curl -i {url}/products     make status     less {LOGS}/*.log
     again         make demo
     stop          make demo-down"""
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
