"""The links that nginx follows: where each bucket leads, what is made and when, and links that make no sense."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.nginx_links import NginxLinks, ways
from ansible_collections.baton.release.plugins.module_utils.routing import Routing

SEATS = {"app1": "green", "app2": "out", "app3": "blue", "app4": "blue"}


def published(directory: Path, routing: Routing) -> NginxLinks:
    links = NginxLinks(directory)
    links.publish(links.prepare(routing))
    return links


def followed(directory: Path, name: str) -> str:
    """Return where a link leads, as the kernel follows it and nginx takes it."""
    return (
        (directory / "nginx.live" / name).resolve(strict=True).relative_to(directory.resolve() / "nginx.d/to").parts[0]
    )


def test_every_bucket_leads_to_the_slot_or_in_equal_parts_to_the_seats() -> None:
    assert {*ways(Routing("blue")).values()} == {"blue"}
    assert ways(Routing("none")) == {}
    mixed = ways(Routing("mixed", SEATS))
    assert len(mixed) == 512
    first = Counter(way for name, way in mixed.items() if not name.endswith(".else"))
    assert sorted(first.values()) == [85, 85, 86]
    assert set(first) == {"app1_green", "app3_blue", "app4_blue"}
    assert all(mixed[f"{name}.else"] != way for name, way in mixed.items() if not name.endswith(".else"))


def test_with_one_host_left_it_gets_everything() -> None:
    assert {*ways(Routing("mixed", {"app1": "out", "app2": "green"})).values()} == {"app2_green"}


def test_the_kernel_follows_them_as_they_are_meant(tmp_path: Path) -> None:
    links = NginxLinks(tmp_path)
    assert links.routing() == Routing("none")
    shares = [Routing(live, share=share) for live in ("blue", "green") for share in (1, 10, 99)]
    for routing in (Routing("blue"), Routing("mixed", SEATS), *shares, Routing("green")):
        target = links.prepare(routing)
        # Prepared is not live.
        assert links.routing() != routing
        links.publish(target)
        assert links.routing() == routing
        assert {name: followed(tmp_path, name) for name in ways(routing)} == ways(routing)


def test_of_the_clients_numbers_as_many_as_the_share_lead_to_the_other_slot() -> None:
    for share in range(1, 100):
        leads = ways(Routing("blue", share=share))
        clients = [leads.pop(f"client.{number:02}") for number in range(100)]
        assert clients == ["green"] * share + ["blue"] * (100 - share)
        # Where a bucket leads says that there is a share, and who knows of none has all clients in the slot that is live.
        assert leads == ways(Routing("blue"))


def test_an_nginx_from_before_shares_finds_the_slot_that_is_live(tmp_path: Path) -> None:
    published(tmp_path, Routing("blue", share=5))
    for name in ("00", "ff.else"):
        assert (tmp_path / "nginx.live" / name).resolve() == (tmp_path / "nginx.d/to/blue/green.5").resolve()


@pytest.mark.parametrize("target", ["blue/blue.5", "blue/green.0", "blue/green.100", "blue/green.05", "blue/green"])
def test_a_share_that_nobody_can_have_made_is_said(tmp_path: Path, target: str) -> None:
    (tmp_path / "nginx.live").symlink_to(f"nginx.d/to/{target}")
    with pytest.raises(BatonError, match=f"is 'nginx.d/to/{target}'"):
        NginxLinks(tmp_path).routing()


def test_what_is_live_is_not_written_again(tmp_path: Path) -> None:
    links = published(tmp_path, Routing("mixed", SEATS))
    live = (tmp_path / "nginx.live").resolve()
    before = {path.name: path.lstat().st_ino for path in live.iterdir()}
    published(tmp_path, Routing("mixed", {**SEATS, "app1": "out"}))
    assert {path.name: path.lstat().st_ino for path in live.iterdir()} == before
    assert links.routing().seats["app1"] == "out"
    whole = published(tmp_path, Routing("blue"))
    before = {path.name: path.lstat().st_ino for path in (tmp_path / "nginx.live").resolve().iterdir()}
    whole.prepare(Routing("blue"))
    assert {path.name: path.lstat().st_ino for path in (tmp_path / "nginx.live").resolve().iterdir()} == before


@pytest.mark.parametrize("routing", [Routing("mixed", SEATS), Routing("green", share=5)])
def test_what_was_live_for_long_is_kept_for_a_while_too(tmp_path: Path, routing: Routing) -> None:
    published(tmp_path, routing)
    first = (tmp_path / "nginx.live").resolve()
    os.utime(first, (1, 1))
    published(tmp_path, Routing("blue"))
    assert first.exists()
    os.utime(first, (1, 1))
    published(tmp_path, Routing("green"))
    assert not first.exists()


def test_everybody_may_enter_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        published(tmp_path, Routing("mixed", SEATS))
    finally:
        os.umask(before)
    made = [path for path in (tmp_path / "nginx.d").rglob("*") if path.is_dir() and not path.is_symlink()]
    assert {path.stat().st_mode & 0o777 for path in [*made, tmp_path / "nginx.d"]} == {0o755}


@pytest.mark.parametrize("seats", [{}, {"app1": "out"}, {"app1": "yellow"}, None])
def test_seats_that_make_no_sense_are_named(tmp_path: Path, seats: dict[str, str] | None) -> None:
    links = published(tmp_path, Routing("mixed", SEATS))
    file = tmp_path / "nginx.live/seats.json"
    file.unlink()
    if seats is not None:
        file.write_text(json.dumps(seats))
    with pytest.raises(BatonError, match="holds no seats"):
        links.routing()


def test_a_missing_end_and_a_changed_link_are_said(tmp_path: Path) -> None:
    links = published(tmp_path, Routing("mixed", SEATS))
    (tmp_path / "nginx.d/to/app1_green").rmdir()
    assert (
        links.routing().unsettled
        == f"{list(ways(Routing('mixed', SEATS)).values()).count('app1_green')} links lead elsewhere"
    )
    published(tmp_path, Routing("mixed", SEATS))
    assert links.routing().unsettled == ""


def test_what_lies_in_the_way_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "nginx.live").mkdir()
    links = NginxLinks(tmp_path)
    with pytest.raises(BatonError, match="no link"):
        links.routing()
    with pytest.raises(BatonError, match="cannot be written"):
        links.publish(links.prepare(Routing("blue")))
    (tmp_path / "nginx.live").rmdir()
    links.publish(links.prepare(Routing("blue")))
    assert links.routing() == Routing("blue")
    with pytest.raises(BatonError, match="cannot be written"):
        NginxLinks(tmp_path / "nothing/there").prepare(Routing("blue"))
