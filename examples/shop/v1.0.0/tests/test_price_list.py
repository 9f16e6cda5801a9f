import time
from base64 import b64encode
from hashlib import sha256
from urllib.parse import quote

import pytest
from conftest import Shop

from shop import __version__


def test_the_price_list_has_every_quantity_of_every_product(shop: Shop) -> None:
    answer = shop.get("/price-list")
    lines = answer.body["text"].splitlines()
    assert (answer.status, answer.headers["x-version"]) == (200, __version__)
    assert lines[0] == "product_id,name,quantity,total_cents"
    assert lines[2] == "1,Relay baton,2,2980"
    assert len(lines) == 1 + 5 * 100


def test_its_digest_proves_it_whole(shop: Shop) -> None:
    answer = shop.get("/price-list")
    digest = b64encode(sha256(answer.body["text"].encode()).digest()).decode()
    assert answer.headers["content-digest"] == f"sha-256=:{digest}:"


def test_it_takes_its_time_and_comes_in_pieces(shop: Shop) -> None:
    at_once, began = shop.get("/price-list"), time.monotonic()
    slow = shop.get("/price-list?seconds=1")
    assert time.monotonic() - began >= 0.9
    assert slow.headers["transfer-encoding"] == "chunked"
    assert slow.body == at_once.body


@pytest.mark.parametrize("seconds", ["21", "-1", "1.5", "", "\u0661", "9" * 5000])
def test_a_time_that_is_not_offered_is_refused(shop: Shop, seconds: str) -> None:
    answer = shop.get(f"/price-list?seconds={quote(seconds)}")
    assert (answer.status, answer.body) == (422, {"error": "seconds must be a whole number from 0 to 20"})
