"""The benchmark of switches sees what it is there for: each request that fails, and each answer of the wrong slot."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.bench.storm import AGAIN, FAILED, FRESH, KEPT, OK, Asked, Clients, read
from tests.bench.switch_figures import RELOADS, SWITCHES, Action, Phase, figure_of

ANSWER = b"HTTP/1.1 200 OK\r\nX-Slot: blue\r\nContent-Length: 2\r\n\r\n{}"
QUIET = Phase("quiet", 0.0, 1.0)
SECONDS = 0.4


def answered(start: float, slot: str, outcome: str = OK, took: float = 0.001) -> Asked:
    return Asked(start, start + took, KEPT, outcome, slot, "")


def phase(what: str) -> Phase:
    return Phase(what, 10.0, 12.0, [Action(10.0, 10.1, "green"), Action(11.0, 11.1, "blue")])


def many(slots: str = "green blue") -> list[Asked]:
    """Return what is asked in both seconds of the phase, 600 requests each."""
    first, second = slots.split()
    return [answered(10.1 + n * 0.0015, first) for n in range(600)] + [
        answered(11.1 + n * 0.0015, second) for n in range(600)
    ]


def test_without_anything_wrong_there_is_no_complaint() -> None:
    figure = figure_of("x", phase(SWITCHES), QUIET, [*many(), answered(0.5, "blue", took=0.002)])
    assert (figure.requests, figure.rate, figure.complaints) == (1200, 600.0, [])
    assert figure.before == pytest.approx((2.0, 2.0))
    assert figure.during == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(
    ("what", "more", "said"),
    [
        (SWITCHES, answered(10.5, "-", FAILED), ["1 requests failed"]),
        (RELOADS, answered(10.5, "-", FAILED), ["1 requests failed"]),
        (SWITCHES, answered(10.5, "green", AGAIN), ["1 requests had to be sent again"]),
        (RELOADS, answered(10.5, "green", AGAIN), []),
        (SWITCHES, answered(10.5, "blue"), ["1 answers of the slot before"]),
        (SWITCHES, answered(11.5, "green"), ["1 answers of the slot before"]),
        # It began before the switch had ended.
        (SWITCHES, answered(10.05, "blue", took=0.2), []),
    ],
)
def test_what_is_wrong_is_complained_of(what: str, more: Asked, said: list[str]) -> None:
    assert figure_of("x", phase(what), QUIET, sorted([*many(), more], key=lambda one: one.start)).complaints == said


def test_too_few_requests_prove_nothing() -> None:
    assert figure_of("x", phase(SWITCHES), QUIET, many()[::2]).complaints == ["only 300 requests a second"]


def test_the_skew_is_for_how_long_both_slots_answer() -> None:
    late = answered(10.05, "blue", took=0.151)
    figure = figure_of("x", phase(SWITCHES), QUIET, [*many(), late])
    assert figure.skew == pytest.approx((50.0, 100.0))  # the median of 100 and 0
    assert figure_of("x", phase(RELOADS), QUIET, many()).skew is None


async def _storm(kind: str, *answers: bytes | None) -> list[Asked]:
    """Have clients ask a server that gives these answers one after the other; None closes the connection instead."""
    left = [*answers]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            answer = left.pop(0) if left else ANSWER
            if answer is not None:
                writer.write(answer)
            if answer != ANSWER:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    clients = Clients(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", kind, rate=100)
    running = asyncio.create_task(clients.run())
    await asyncio.sleep(SECONDS)
    clients.stopped = True
    await running
    server.close()
    return clients.asked


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(ANSWER.replace(b"200 OK", b"503 No"), id="a status that is not 200"),
        pytest.param(ANSWER[:-1], id="an answer that breaks off"),
        pytest.param(ANSWER.replace(b"X-Slot", b"X-Other"), id="an answer of no slot"),
        pytest.param(b"hello\r\n\r\n", id="no answer of HTTP"),
        pytest.param(None, id="a connection that is closed"),
    ],
)
def test_a_client_writes_down_what_has_failed(wrong: bytes | None) -> None:
    seen = Counter(one.outcome for one in asyncio.run(_storm(FRESH, ANSWER, wrong, ANSWER)))
    assert seen[FAILED] == 1
    assert seen[OK] >= 10


def test_a_kept_connection_that_is_closed_before_the_answer_is_asked_again_on_another_one() -> None:
    # Sixteen clients have a connection each then; the first one that asks again loses it.
    asked = asyncio.run(_storm(KEPT, *[ANSWER] * 16, None))
    seen = Counter(one.outcome for one in asked)
    assert (seen[AGAIN], seen[FAILED]) == (1, 0)
    # And a new connection that is closed is no such case.
    assert Counter(one.outcome for one in asyncio.run(_storm(KEPT, None)))[FAILED] == 1


def test_what_was_written_down_is_read_as_it_was(tmp_path: Path) -> None:
    asked = [answered(2.5, "blue"), Asked(1.25, 1.5, FRESH, FAILED, "-", "OSError('no way')")]
    (tmp_path / "ledger.txt").write_text("".join(one.line() for one in asked))
    assert read([tmp_path / "ledger.txt"]) == asked[::-1]
