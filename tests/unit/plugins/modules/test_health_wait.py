"""The module against a real server that misbehaves."""

from __future__ import annotations

import json
import socket
import time
import typing

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baton.release.plugins.modules import health_wait

from tests.unit.plugins.hostile_server import HostileServer

Result = dict[str, typing.Any]


@pytest.fixture(name="server")
def _server() -> typing.Iterator[HostileServer]:
    server = HostileServer()
    yield server
    server.close()


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str]) -> typing.Callable[..., Result]:
    def run(*urls: str, check_mode: bool = False, **options: typing.Any) -> Result:
        endpoints = [{"name": f"app{number}", "url": url} for number, url in enumerate(urls, 1)]
        quick = {"deadline": 0.3, "interval": 0.02, "probe_timeout": 0.1}
        arguments = {"endpoints": endpoints, **quick, **options, "_ansible_check_mode": check_mode}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            health_wait.main()
        result: Result = json.loads(capsys.readouterr().out)
        return result

    return run


def test_healthy(server: HostileServer, run: typing.Callable[..., Result]) -> None:
    result = run(server.url + "/ok", server.url + "/ok", expect={"version": "v1.1.0"}, consecutive=3)
    assert (result["changed"], result["healthy"], result["waited"]) == (False, True, True)
    assert result["seconds"] < 0.3
    for number, endpoint in enumerate(result["endpoints"], 1):
        assert endpoint["observation"].pop("ms") < 100
        assert endpoint == {
            "name": f"app{number}",
            "healthy": True,
            "consecutive": 3,
            "observation": {"kind": "answered", "status": 200, "version": "v1.1.0", "detail": "answers 200"},
        }


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/old", "app1 answers v1.0.0, expected v1.1.0 (0 successes in a row, 0 of "),
        ("/500", "app1 answers 500, expected 200"),
        ("/204", "app1 answers 204, expected 200"),
        ("/redirect", "app1 answers 302 to http://elsewhere.test/?[2J, expected 200"),
        ("/not-json", "app1 answers 200 without JSON, expected v1.1.0"),
        ("/list", "app1 answers 200 with a list where an object with version belongs, expected v1.1.0"),
        ("/number", "app1 answers 200 with a number as version, expected v1.1.0"),
        ("/nested", "app1 answers 200 with JSON without version, expected v1.1.0"),
        ("/huge", "app1 answers 200 with a body of more than 65536 bytes"),
        ("/drip-body", "app1 gives no whole answer within 0.1 s"),
        ("/drip-head", "app1 gives no whole answer within 0.1 s"),
        ("/hang", "app1 gives no whole answer within 0.1 s"),
        ("/closes", "app1 closes the connection without an answer"),
        ("/garbage", "app1 does not speak HTTP"),
        ("/not-utf-8", "app1 answers 200 without JSON, expected v1.1.0"),
        ("/deep", "app1 answers 200 without JSON, expected v1.1.0"),
        ("/empty", "app1 answers 200 without a body, expected v1.1.0"),
    ],
)
def test_unhealthy(server: HostileServer, run: typing.Callable[..., Result], path: str, said: str) -> None:
    started = time.monotonic()
    result = run(server.url + path, expect={"version": "v1.1.0"})
    assert result["failed"]
    assert "exception" not in result
    assert said in result["msg"]
    assert "Expected: status 200 and version v1.1.0, within 0.3 s. To do: " in result["msg"]
    assert not result["healthy"]
    assert time.monotonic() - started < 0.6


def test_the_error_names_only_the_unhealthy_ones(server: HostileServer, run: typing.Callable[..., Result]) -> None:
    result = run(server.url + "/ok", server.url + "/500", server.url + "/hang")
    assert "s, 2 not healthy: app2 answers 500" in result["msg"]
    assert "; app3 gives no whole answer" in result["msg"]
    assert "app1" not in result["msg"]
    assert [endpoint["healthy"] for endpoint in result["endpoints"]] == [True, False, False]


def test_flapping_is_never_promoted(server: HostileServer, run: typing.Callable[..., Result]) -> None:
    result = run(server.url + "/flapping", consecutive=3, deadline=1, interval=0.001)
    assert len(server.requests) > 100
    assert result["failed"]
    assert not result["healthy"]
    assert run(server.url + "/flapping", consecutive=1)["healthy"]


def test_min_healthy_seconds(server: HostileServer, run: typing.Callable[..., Result]) -> None:
    result = run(server.url + "/ok", min_healthy_seconds=0.2, deadline=2)
    assert result["healthy"]
    assert 0.2 <= result["seconds"] < 0.5


def test_success_that_does_not_last_is_said_so(server: HostileServer, run: typing.Callable[..., Result]) -> None:
    result = run(server.url + "/slow", min_healthy_seconds=0.29, probe_timeout=1)
    assert result["failed"]
    assert "for 0.29 s without a break, within 0.3 s" in result["msg"]


def test_a_probe_that_cannot_be_cut_does_not_break_the_deadline(
    server: HostileServer, run: typing.Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hanging_lookup(*_: object, **__: object) -> typing.NoReturn:
        time.sleep(0.9)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", hanging_lookup)
    result = run(server.url + "/ok")
    assert result["failed"]
    assert 0.3 <= result["seconds"] < 0.5
    assert "app1 gives no whole answer after 0.3 s" in result["msg"]


def test_probes_are_parallel_and_bounded(server: HostileServer, run: typing.Callable[..., Result]) -> None:
    result = run(*[server.url + "/hang"] * 40, deadline=0.25, probe_timeout=1, fail_on_unhealthy=False)
    assert not result["healthy"]
    assert server.most_at_once == 16
    assert result["endpoints"][39]["observation"] is None


def test_the_caller_may_decide(server: HostileServer, run: typing.Callable[..., Result]) -> None:
    result = run(server.url + "/500", fail_on_unhealthy=False)
    assert not result.get("failed")
    assert (result["healthy"], result["waited"], result["changed"]) == (False, True, False)


@pytest.mark.parametrize(("path", "healthy"), [("/ok", True), ("/500", False), ("/hang", False), ("/closes", False)])
def test_check_mode_looks_once_and_never_fails(
    server: HostileServer, run: typing.Callable[..., Result], path: str, *, healthy: bool
) -> None:
    result = run(server.url + path, check_mode=True, consecutive=3, min_healthy_seconds=0.2)
    assert not result.get("failed")
    assert (result["healthy"], result["waited"], result["changed"]) == (healthy, False, False)
    assert len(server.requests) == 1


def test_tcp(server: HostileServer, run: typing.Callable[..., Result]) -> None:
    endpoints = [{"name": "up", "tcp": f"127.0.0.1:{server.port}"}, {"name": "down", "tcp": "127.0.0.1:1"}]
    result = run(endpoints=endpoints, expect={"version": "v1.1.0"}, fail_on_unhealthy=False)
    kinds = [endpoint["observation"]["kind"] for endpoint in result["endpoints"]]
    assert kinds == ["connected", "refused"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"consecutive": 0}, "consecutive = 0"),
        ({"consecutive": -1}, "consecutive = -1"),
        ({"consecutive": 10**400}, "consecutive = 1000"),
        ({"deadline": 0}, "deadline = 0.0"),
        ({"deadline": -1}, "deadline = -1.0"),
        ({"deadline": "nan"}, "deadline = nan"),
        ({"deadline": "inf"}, "deadline = inf"),
        ({"deadline": 1e9}, "deadline = 1000000000.0"),
        ({"interval": 0}, "interval = 0.0"),
        ({"interval": "nan"}, "interval = nan"),
        ({"probe_timeout": 0}, "probe_timeout = 0.0"),
        ({"probe_timeout": 1e10}, "probe_timeout = 10000000000.0"),
        ({"min_healthy_seconds": -1}, "min_healthy_seconds = -1.0"),
        ({"min_healthy_seconds": "nan"}, "min_healthy_seconds = nan"),
        ({"min_healthy_seconds": 0.3}, "deadline = 0.3 s, but min_healthy_seconds and consecutive need 0.3 s"),
        ({"consecutive": 100}, "need 1.98 s"),
        ({"max_body": 0}, "max_body = 0"),
        ({"max_body": 10**12}, "max_body = 1000000000000"),
        ({"expect": {"version": ""}}, "version = ''"),
        ({"expect": {"version_key": ""}}, "version_key = ''"),
        ({"expect": {"version_key": "build..version"}}, "version_key = 'build..version'"),
        ({"expect": {"status": 99}}, "status = 99"),
        ({"endpoints": []}, "no endpoints"),
        ({"endpoints": [{"name": "a", "tcp": "a:1"}, {"name": "a", "tcp": "b:1"}]}, "the name a more than once"),
        ({"endpoints": [{"name": "", "tcp": "a:1"}]}, "endpoint ''"),
        ({"endpoints": [{"name": "a", "url": "ftp://a/"}]}, "ftp://a/"),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_options_are_refused_before_anything_is_asked(
    server: HostileServer, run: typing.Callable[..., Result], options: Result, found: str, *, check_mode: bool
) -> None:
    result = run(server.url + "/ok", check_mode=check_mode, **options)
    assert result["failed"]
    assert f"Found: {found}"[:60] in result["msg"] or found in result["msg"]
    assert "Expected: " in result["msg"]
    assert "nothing was asked" in result["msg"]
    assert server.requests == []


@pytest.mark.parametrize("item", [{"name": "a"}, {"name": "a", "url": "http://a/", "tcp": "a:1"}, {"url": "http://a/"}])
def test_an_endpoint_has_a_name_and_one_address(run: typing.Callable[..., Result], item: Result) -> None:
    assert run(endpoints=[item])["failed"]


def test_headers_are_sent_and_masked_without_harm_to_the_result(
    server: HostileServer, run: typing.Callable[..., Result]
) -> None:
    headers = {"Authorization": "Bearer canary-4711", "X-Canary": "1"}
    endpoint = {"name": "app1", "url": server.url + "/ok", "headers": headers}
    result = run(endpoints=[endpoint], expect={"version": "v1.1.0"})
    assert "Authorization: Bearer canary-4711" in server.requests[0]
    assert "canary-4711" not in json.dumps(result)
    assert result["endpoints"][0]["observation"]["version"] == "v1.1.0"
    assert result["endpoints"][0]["observation"]["status"] == 200
    assert result["endpoints"][0]["consecutive"] == 1
