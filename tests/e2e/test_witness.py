"""Every kind of traffic through a release: kept and fresh connections, orders, slow downloads and WebSockets."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from tests.e2e.environment import PLAYBOOK_SECONDS, ROOT, Environment
from tests.witness.checker import judge, switches
from tests.witness.ledger import Ledger, MessageRecord, SocketRecord, load
from tests.witness.process import Witness

ORDER = '{"product_id": 1, "quantity": 1}'
DOWNLOAD = "/price-list?seconds=4"
# Of different length, so that some of them are half-way at any moment.
DOWNLOADS = [(f"/price-list?seconds={seconds}", "digest") for seconds in (3, 4, 5)]
TALK_SECONDS = 15.0
PATIENCE_SECONDS = 60


def traffic(shop: Environment, name: str) -> Witness:
    """Return a client that does everything a client of the shop can do."""
    ledger = shop.root / "ledgers" / f"{name}-{time.time_ns()}.jsonl"
    lasting: dict[str, Any] = {"downloads": DOWNLOADS, "streams": 4, "websockets": ["/echo"]}
    lasting |= {"talkers": 6, "talk_seconds": TALK_SECONDS, "talk_interval": 0.2}
    return Witness(
        shop.url,
        ledger,
        seconds=PLAYBOOK_SECONDS,
        rate=60,
        paths=("/", "/products"),
        posts=[("/orders", ORDER)],
        **lasting,
    )


def spanning(ledger: Ledger, version: str, moment: float) -> list[SocketRecord]:
    """Return the WebSockets of ``version`` that were open at ``moment`` and were held to their end."""
    held = [socket for socket in ledger.sockets if socket.ms >= TALK_SECONDS * 1000]
    return [socket for socket in held if socket.version == version and socket.start < moment < socket.end]


def messages_after(ledger: Ledger, version: str, moment: float) -> list[MessageRecord]:
    """Return the messages after ``moment`` of those WebSockets."""
    connections = {socket.connection for socket in spanning(ledger, version, moment)}
    return [one for one in ledger.messages if one.connection in connections and one.start > moment]


def moved(ledger: Ledger) -> float | None:
    """Return the moment from which on only the new version was seen to answer; None before the first answer of it."""
    found = switches(record for record in ledger if record.kind != "slow")
    return found[0].settled if found else None


def test_a_release_under_all_traffic_loses_nothing_and_cuts_nothing(shop: Environment) -> None:
    old, new = str(shop.served()["version"]), shop.new_version()
    with traffic(shop, "all") as witness:
        witness.wait_until_flowing()
        # The downloads are slow on purpose, and what the watch makes of latency is not the question here.
        played = shop.release(new, watch_max_p95_ms=20000)
        assert played.code == 0, played.output
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not messages_after(witness.snapshot(), old, moved(witness.snapshot()) or 0.0):
            assert time.monotonic() < deadline, (
                "no WebSocket that was open during the switch has talked on and been held to its end"
            )
            time.sleep(0.5)
        ledger = witness.stop()

    verdict = judge(ledger, expect_versions=[old, new], whole=True)
    assert verdict.ok, verdict.reasons
    assert {record.kind for record in ledger} == {"kept", "fresh", "slow"}
    assert {record.method for record in ledger} == {"GET", "POST"}
    (switch,) = switches(record for record in ledger if record.kind != "slow")
    assert (switch.before, switch.after) == (old, new)
    for socket in spanning(ledger, old, switch.settled):
        assert (socket.closer, socket.code) == ("client", 1000)
    assert {message.version for message in messages_after(ledger, old, switch.settled)} == {old}
    downloads = [record for record in ledger if record.kind == "slow"]
    assert any(one.version == old and one.start < switch.began <= switch.settled < one.end for one in downloads)
    assert {one.version for one in downloads if one.start > switch.settled} == {new}
    assert new in {socket.version for socket in ledger.sockets if socket.start > switch.settled}


def test_the_tool_judges_a_playbook_that_it_runs_beside(shop: Environment) -> None:
    versions = [str(shop.served()["version"]), shop.new_version()]
    assert shop.release(versions[1]).code == 0
    ledger = shop.root / "ledgers" / f"tool-{time.time_ns()}.jsonl"
    command = [sys.executable, "-m", "tests.witness", "run", "--url", shop.url, "--ledger", str(ledger), "--rate", "60"]
    command += ["--path", "/", "--post", "/orders", ORDER, "--download", DOWNLOAD, "digest", "--websocket", "/echo"]
    for version in versions:
        command += ["--expect-version", version]
    tool = subprocess.run(
        [*command, "--", *shop.command("rollback")],
        cwd=ROOT,
        env=shop.variables(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PLAYBOOK_SECONDS,
        check=False,
    )

    assert tool.returncode == 0, f"{tool.stdout}\n{tool.stderr}"
    assert tool.stdout.endswith("PASS\n")
    assert f"{versions[1]} -> {versions[0]} at " in tool.stdout
    assert {record.kind for record in load(ledger)} == {"kept", "fresh", "slow"}
    assert shop.served()["version"] == versions[0]
