# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The ledger's file: complete, torn, spoiled."""

from __future__ import annotations

import typing

import pytest

from tests.witness.ledger import End, Ledger, LedgerError, LedgerWriter, MessageRecord, Record, SocketRecord, load

if typing.TYPE_CHECKING:
    from pathlib import Path


def record(start: float, end: float) -> Record:
    """Return a good record."""
    return Record(
        start=start,
        end=end,
        ms=(end - start) * 1000,
        method="GET",
        path="/",
        kind="kept",
        connection=1,
        nth=1,
        status=200,
        error=None,
        version="v1",
        instance="app1",
        slot="blue",
    )


def test_what_is_written_is_read_again_with_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    writer = LedgerWriter(path)
    writer.write(record(1.5, 2.5))
    assert len(load(path)) == 0
    writer.tick()
    assert len(load(path)) == 1
    writer.write(record(2.0, 3.0))
    writer.close()

    assert load(path) == Ledger((record(1.5, 2.5), record(2.0, 3.0)), torn=False)
    assert [entry.line for entry in load(path)] == [1, 2]


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_torn_last_line_is_left_out(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "ledger.jsonl"
    lines = f"{record(1, 2).as_json()}\n{record(2, 3).as_json()}\n"
    path.write_text(lines[:-cut], encoding="ascii")

    assert load(path) == Ledger((record(1, 2),), torn=True)


@pytest.mark.parametrize("bad", ["{", "[]", "7", "", '{"start": 1}', '{"what": "request"}', '{"what": "else"}'])
def test_any_other_bad_line_is_an_error_with_its_number(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(f"{record(1, 2).as_json()}\n{bad}\n{record(2, 3).as_json()}\n", encoding="ascii")

    with pytest.raises(LedgerError, match=r"ledger\.jsonl:2 is not a record"):
        load(path)


def test_an_existing_ledger_is_never_written_to(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text("evidence", encoding="ascii")

    with pytest.raises(LedgerError, match="exists"):
        LedgerWriter(path)
    assert path.read_text(encoding="ascii") == "evidence"


def test_a_ledger_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be written"):
        LedgerWriter(tmp_path / "missing" / "ledger.jsonl")
    with pytest.raises(LedgerError, match="cannot be read"):
        load(tmp_path / "ledger.jsonl")


@pytest.mark.parametrize(
    ("t0", "t1", "in_flight", "started"),
    [
        (0, 100, [(10, 12), (20, 30)], [(10, 12), (20, 30)]),
        (12, 20, [(10, 12), (20, 30)], []),
        (13, 19, [], []),
        (25, 26, [(20, 30)], []),
        (20, 21, [(20, 30)], [(20, 30)]),
    ],
)
def test_windows(
    t0: float, t1: float, in_flight: list[tuple[float, float]], started: list[tuple[float, float]]
) -> None:
    ledger = Ledger((record(10, 12), record(20, 30)))

    assert [(entry.start, entry.end) for entry in ledger.window(t0, t1)] == in_flight
    assert [(entry.start, entry.end) for entry in ledger.started(t0, t1)] == started


def socket(connection: int, start: float, end: float) -> SocketRecord:
    """Return a good WebSocket."""
    return SocketRecord(
        start=start,
        end=end,
        ms=(end - start) * 1000,
        path="/echo",
        connection=connection,
        status=101,
        error=None,
        version="v1",
        instance="app1",
        slot="blue",
        sent=1,
        closer="client",
        code=1000,
    )


def message(connection: int, start: float) -> MessageRecord:
    """Return a good answer."""
    return MessageRecord(
        start=start, end=start, ms=0.0, connection=connection, number=1, version="v1", instance=None, slot=None
    )


def test_every_sort_of_line_is_read_again_and_counted_in_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    writer = LedgerWriter(path)
    for line in (record(1, 2), message(7, 1.5), message(7, 1.7), socket(7, 1, 3)):
        writer.write(line)
    writer.tick()
    assert load(path).end is None
    writer.end(skipped=4)
    writer.close()

    expected = Ledger(
        (record(1, 2),),
        sockets=(socket(7, 1, 3),),
        messages=(message(7, 1.5), message(7, 1.7)),
        end=End(requests=1, websockets=1, messages=2, skipped=4),
    )
    assert load(path) == expected
    assert [line.line for line in (*load(path).messages, *load(path).sockets)] == [2, 3, 4]
    with path.open("a", encoding="ascii") as stream:
        stream.write(f"{record(1, 2).as_json()}\n")
    with pytest.raises(LedgerError, match="6 comes after the last line of the ledger, 5"):
        load(path)


def test_a_websocket_keeps_all_its_answers_in_a_window() -> None:
    ledger = Ledger(
        (), sockets=(socket(1, 0, 9), socket(2, 0, 1)), messages=(message(1, 0.5), message(2, 0.5), message(3, 5))
    )

    assert ledger.window(4, 6) == Ledger((), sockets=(socket(1, 0, 9),), messages=(message(1, 0.5), message(3, 5)))
    assert ledger.started(5, 6) == Ledger((), messages=(message(3, 5),))
    assert ledger.started(0, 1).sockets == ledger.sockets
