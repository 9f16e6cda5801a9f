import time
from http.client import HTTPConnection

import pytest
from conftest import Shop, running

from shop import __version__
from shop.catalogue import Catalogue
from shop.settings import Settings


def test_every_response_says_who_made_it(shop: Shop) -> None:
    for answer in (shop.get("/"), shop.get("/products"), shop.get("/health/live"), shop.get("/nowhere")):
        assert answer.headers["x-version"] == __version__
        assert answer.headers["x-instance"] == "app1"
        assert answer.headers["x-slot"] == "green"


def test_a_crash_says_who_made_it_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Catalogue, "list_products", lambda _self, _request: 1 / 0)
    with running(settings) as shop:
        crashed = shop.get("/products")
    assert (crashed.status, crashed.headers["x-slot"]) == (500, "green")


def test_a_crash_does_not_close_its_connection(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Catalogue, "list_products", lambda _self, _request: 1 / 0)
    with running(settings) as shop:
        connection = HTTPConnection("127.0.0.1", shop.port, timeout=5)
        for path, status in (("/products", 500), ("/", 200)):
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            assert response.status == status
            time.sleep(0.2)  # the server would have logged the crash, and closed, by then
        connection.close()


def test_home_names_version_instance_and_slot(shop: Shop) -> None:
    assert shop.get("/").body == {
        "shop": "The Relay Shop",
        "version": __version__,
        "instance": "app1",
        "slot": "green",
    }


def test_products_come_from_the_database(shop: Shop) -> None:
    products = shop.get("/products").body["products"]
    assert [product["name"] for product in products][:2] == ["Relay baton", "Running shoes"]
    assert products[0].keys() >= {"id", "name", "price_cents"}


def test_an_order_is_taken_and_can_be_read_again(shop: Shop) -> None:
    placed = shop.order({"product_id": 1, "quantity": 2})
    assert placed.status == 201
    assert placed.body["quantity"] == 2
    assert placed.body["total_cents"] > 0
    read = shop.get(f"/orders/{placed.body['id']}")
    assert read.status == 200
    assert read.body["total_cents"] == placed.body["total_cents"]


def test_an_order_that_does_not_exist(shop: Shop) -> None:
    assert shop.get("/orders/4711").status == 404
    assert shop.get(f"/orders/{10**30}").status == 404


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ([], "not a JSON object"),
        ({}, "product_id must be"),
        ({"product_id": 1}, "quantity must be"),
        ({"product_id": 1, "quantity": 0}, "from 1 to 100"),
        ({"product_id": 1, "quantity": 101}, "from 1 to 100"),
        ({"product_id": 1, "quantity": True}, "from 1 to 100"),
        ({"product_id": "1", "quantity": 1}, "product_id must be"),
        ({"product_id": 4711, "quantity": 1}, "no product 4711"),
        ({"product_id": 10**30, "quantity": 1}, "product_id must be"),
    ],
)
def test_a_bad_order_is_refused_with_a_reason(shop: Shop, order: object, reason: str) -> None:
    answer = shop.order(order)
    assert answer.status == 422
    assert reason in answer.body["error"]


@pytest.mark.parametrize("content", ["", "{", "\udcff"])
def test_a_body_that_is_not_json_is_refused(shop: Shop, content: str) -> None:
    answer = shop.ask("POST", "/orders", content.encode("utf-8", "surrogateescape"))
    assert (answer.status, answer.body) == (422, {"error": "the body is not JSON"})
