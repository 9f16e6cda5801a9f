"""A maintenance page before the whole environment: a release is refused, a rollback goes on behind it, and users are let in again."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from tests.e2e.environment import Environment


def users_get(shop: Environment) -> tuple[int, str]:
    """Return status and Retry-After of what users get."""
    try:
        with urllib.request.urlopen(f"{shop.url}/products", timeout=10) as answer:
            return answer.status, answer.headers.get("Retry-After") or ""
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Retry-After") or ""


def ready(shop: Environment) -> str:
    """Return the version that the health path tells users."""
    with urllib.request.urlopen(f"{shop.url}/health/ready", timeout=10) as answer:
        body: dict[str, str] = json.load(answer)
    return body["version"]


def test_behind_the_page_a_rollback_goes_on_and_a_release_does_not(shop: Environment) -> None:
    before, version, live = str(shop.served()["version"]), shop.new_version(), shop.live()
    assert shop.release(version, watch_max_p95_ms=5000).code == 0
    files = shop.snapshot()
    planned = shop.play("maintenance", "--check", maintenance=True)
    assert (planned.code, shop.snapshot() == files, users_get(shop)) == (0, True, (200, ""))
    assert "Open or close the door (lb1)" in planned.changed()
    assert shop.play("maintenance", maintenance=True, maintenance_retry_after=45).code == 0
    try:
        assert (users_get(shop), ready(shop)) == ((503, "45"), version)
        refused = shop.release(before)
        assert refused.code != 0
        assert "the door is not open at lb1 (maintenance)" in " ".join(refused.output.split())
        back = shop.play("rollback", verify_paths=["/products"])
        assert back.code == 0, back.output
        assert "not open at lb1 (maintenance), and stays so" in " ".join(back.output.split())
        assert (users_get(shop), ready(shop), shop.live()) == ((503, "45"), before, live)
        assert "door lb1: the maintenance page is shown (Retry-After 45)" in " ".join(shop.status().split())
    finally:
        opened = shop.play("maintenance", maintenance=False)
    assert opened.code == 0, opened.output
    assert (users_get(shop), shop.live(), shop.lease()["owner"]) == ((200, ""), live, "")
    again = shop.play("maintenance", maintenance=False)
    assert (again.code, again.changed()) == (0, [])


@pytest.mark.parametrize("wanted", ["hold", "maybe"])
def test_what_cannot_be_is_refused_before_anything_is_touched(shop: Environment, wanted: str) -> None:
    played = shop.play("maintenance", maintenance=wanted)
    assert played.code != 0
    said = " ".join(played.output.split())
    assert ("cannot hold requests without a reload" if wanted == "hold" else "Found: maintenance=maybe.") in said
    assert users_get(shop)[0] == 200
