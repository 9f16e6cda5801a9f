"""Whatever the other side does, a probe gives an observation, in time."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import typing

import pytest
from ansible_collections.baton.release.plugins.module_utils import probe
from ansible_collections.baton.release.plugins.module_utils.endpoints import Endpoint, parse_endpoint
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.probe import Observation, Probes, observe

from tests.unit.plugins.hostile_server import OK, HostileServer

if typing.TYPE_CHECKING:
    from pathlib import Path

KINDS = {"answered", "connected", "refused", "reset", "timeout", "tls", "protocol", "too_large", "unreachable"}


@pytest.fixture(name="server")
def _server() -> typing.Iterator[HostileServer]:
    server = HostileServer()
    yield server
    server.close()


def look(
    url: str, *, timeout: float = 5, max_body: int = 65536, headers: dict[str, object] | None = None
) -> Observation:
    return observe(parse_endpoint("app", url=url, headers=headers), timeout=timeout, max_body=max_body)


@pytest.mark.parametrize(
    ("path", "kind", "status", "detail"),
    [
        ("/ok", "answered", 200, "answers 200"),
        ("/500", "answered", 500, "answers 500"),
        ("/204", "answered", 204, "answers 204"),
        ("/redirect", "answered", 302, "answers 302 to http://elsewhere.test/?[2J"),
        ("/not-json", "answered", 200, "answers 200"),
        ("/until-closed", "answered", 200, "answers 200"),
        ("/huge", "too_large", 200, "answers 200 with a body of more than 65536 bytes"),
        ("/closes", "reset", None, "closes the connection without an answer"),
        ("/garbage", "protocol", None, "does not speak HTTP: ?ÿ? is this HTTP???"),
        ("/no-number", "protocol", None, "does not speak HTTP: HTTP/1.1 twohundred OK??"),
        ("/short", "protocol", 200, "answers 200, but ends"),
        ("/bad-chunk", "protocol", None, "ends in the middle of the body"),
        ("/cut-chunk", "protocol", None, "ends in the middle of the body"),
        ("/many-headers", "protocol", None, "does not speak HTTP: got more than 100 headers"),
        ("/long-header", "protocol", None, "does not speak HTTP: got more than 65536 bytes when reading header line"),
    ],
)
def test_each_answer_is_an_observation(
    server: HostileServer, path: str, kind: str, status: int | None, detail: str
) -> None:
    observation = look(server.url + path)
    assert (observation.kind, observation.status) == (kind, status)
    assert observation.detail.startswith(detail)
    assert len(server.requests) == 1


@pytest.mark.parametrize("path", ["/hang", "/drip-head", "/drip-body", "/continue"])
def test_slowness_does_not_buy_time(server: HostileServer, path: str) -> None:
    started = time.monotonic()
    observation = look(server.url + path, timeout=0.25)
    assert observation.kind == "timeout"
    assert observation.detail == "gives no whole answer within 0.25 s"
    assert 0.2 < time.monotonic() - started < 0.6
    assert 200 <= observation.ms < 600


def test_a_body_of_exactly_the_limit_is_read(server: HostileServer) -> None:
    size = len(look(server.url + "/ok").body)
    assert look(server.url + "/ok", max_body=size).kind == "answered"
    assert look(server.url + "/ok", max_body=size - 1).kind == "too_large"


def test_the_request_says_who_asks_and_carries_the_headers(server: HostileServer) -> None:
    look(server.url + "/ok", headers={"Host": "shop.example.com", "X-Probe": 1})
    head = server.requests[0]
    assert head.startswith("GET /ok HTTP/1.1\r\n")
    assert head.count("Host:") == 1
    assert {"Host: shop.example.com", "X-Probe: 1", "User-Agent: baton.release"} <= set(head.split("\r\n"))


def test_no_proxy_of_the_environment_is_used(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert look(server.url + "/ok").kind == "answered"


def test_tcp_is_healthy_when_it_accepts(server: HostileServer) -> None:
    endpoint = parse_endpoint("db", tcp=f"127.0.0.1:{server.port}")
    assert observe(endpoint, timeout=5, max_body=1).kind == "connected"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert look(f"http://127.0.0.1:{port}/").kind == "refused"
    assert observe(parse_endpoint("db", tcp=f"127.0.0.1:{port}"), timeout=5, max_body=1).kind == "refused"


def test_a_name_without_an_address() -> None:
    observation = look("http://app.invalid/")
    assert observation.kind == "unreachable"
    assert observation.detail.startswith("cannot be reached: ")


def test_a_full_backlog_is_a_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        endpoint = parse_endpoint("db", tcp=f"127.0.0.1:{listener.getsockname()[1]}")
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(listener.getsockname())
        assert observe(endpoint, timeout=0.2, max_body=1).kind == "timeout"
        for connection in waiting:
            connection.close()


def test_https_to_something_that_speaks_no_tls(server: HostileServer) -> None:
    observation = look(server.url.replace("http://", "https://") + "/ok")
    assert observation.kind == "tls"
    assert observation.detail.startswith("TLS fails: ")


@pytest.fixture(name="certificate", scope="module")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "certificate.pem")]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "req", "-x509", "-nodes", *curve, *subject, *files], check=True, capture_output=True)
    return directory / "certificate.pem"


@pytest.mark.parametrize(
    ("host", "trusted", "kind", "detail"),
    [
        ("localhost", True, "answered", "answers 200"),
        ("localhost", False, "tls", "TLS fails: self"),
        ("127.0.0.1", True, "tls", "TLS fails: IP address mismatch"),
    ],
)
def test_https(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, *, host: str, trusted: bool, kind: str, detail: str
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    probe._tls_context.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(listener.accept()[0], server_side=True) as connection,
            ):
                connection.recv(65536)
                connection.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        observation = look(f"https://{host}:{listener.getsockname()[1]}/", timeout=2)
        thread.join()
    probe._tls_context.cache_clear()
    assert observation.kind == kind
    assert observation.detail.startswith(detail)


def test_a_tls_handshake_that_never_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert look(f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.2).kind == "timeout"


def answered_with(data: bytes, *, reset: bool = False) -> Observation:
    """Return what a probe sees of a server that sends ``data`` and closes, or cuts, the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(data)
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        thread = threading.Thread(target=serve)
        thread.start()
        observation = look(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=1)
        thread.join()
    return observation


def test_a_cut_connection() -> None:
    assert answered_with(b"", reset=True).kind == "reset"


def test_noise_never_raises() -> None:
    noise = random.Random(20)  # noqa: S311 - a repeatable test, not a secret
    fragments = [
        b"HTTP/1.1 ",
        b"200",
        b"\r\n",
        b"\n",
        b":",
        b"Transfer-Encoding: chunked\r\n",
        b"\x00",
        b"\xff\xfe",
        b"-1",
    ]
    fragments += [b"Content-Length: ", b"99999999999999999999", b" ", b"HTTP/0.9", b"{", b"Location: \xff\r\n"]
    for _ in range(150):
        data = b"".join(noise.choices(fragments, k=noise.randrange(12)))
        assert answered_with(data).kind in KINDS, data


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"url": "http://app1/health?deep=1#x"}, ("http", "app1", 80, "/health?deep=1")),
        ({"url": "https://app1"}, ("https", "app1", 443, "/")),
        ({"url": "http://[::1]:8101/"}, ("http", "::1", 8101, "/")),
        ({"tcp": "app1:5432"}, ("tcp", "app1", 5432, "")),
    ],
)
def test_addresses(options: dict[str, str], expected: tuple[str, str, int, str]) -> None:
    endpoint = parse_endpoint("app", **options)  # type: ignore[arg-type]  # headers is not among them
    assert (endpoint.scheme, endpoint.host, endpoint.port, endpoint.target) == expected


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, "neither or both"),
        ({"url": "http://a/", "tcp": "a:1"}, "neither or both"),
        ({"url": ""}, "''"),
        ({"url": "ftp://a/"}, "ftp://a/"),
        ({"url": "file:///etc/passwd"}, "file:///etc/passwd"),
        ({"url": "http:///health"}, "http:///health"),
        ({"url": "http://a:0/"}, "http://a:0/"),
        ({"url": "http://a:99999/"}, "http://a:99999/"),
        ({"url": "http://[::1/"}, "http://[::1/"),
        ({"url": "http://a/ b"}, "blanks"),
        ({"url": "http://a/\r\nX: y"}, "control characters"),
        ({"url": "http://ä/"}, "outside ASCII"),
        ({"url": f"http://{'a' * 70}/"}, "aaa"),
        ({"url": "http://user:hunter22@a/"}, "a user or a password"),
        ({"url": "ftp://user:hunter22@a/"}, "a/"),
        ({"tcp": "app1"}, "app1"),
        ({"tcp": ":80"}, ":80"),
        ({"tcp": "app1:80/x"}, "app1:80/x"),
        ({"tcp": "user:hunter22@app1:80"}, "a user or a password"),
        ({"url": "http://a/", "headers": {"X Y": "1"}}, "header 'X Y'"),
        ({"url": "http://a/", "headers": {"X": "1\r\nY: 2"}}, "header 'X'"),
        ({"url": "http://a/", "headers": {"X": "\u20ac"}}, "header 'X'"),
        ({"url": "http://a/", "headers": {"": "1"}}, "header ''"),
        ({"url": "http://a/", "headers": {"X": None}}, "header 'X'"),
        ({"url": "http://a/", "headers": {"X": ["1"]}}, "header 'X'"),
    ],
)
def test_unusable_addresses_are_refused(options: dict[str, typing.Any], found: str) -> None:
    with pytest.raises(BatonError) as refusal:
        parse_endpoint("app", **options)
    assert "endpoint 'app'" in str(refusal.value)
    assert found in str(refusal.value)
    assert "hunter22" not in str(refusal.value)


def test_a_lookup_that_hangs_does_not_keep_the_process() -> None:
    script = """
import socket, time
from ansible_collections.baton.release.plugins.module_utils.endpoints import parse_endpoint
from ansible_collections.baton.release.plugins.module_utils.probe import Probes
socket.getaddrinfo = lambda *_, **__: time.sleep(30)
probes = Probes([parse_endpoint("app", tcp="app1:80")], timeout=0.1, max_body=1)
probes.start(0)
assert list(probes.finished(0.1)) == []
"""
    subprocess.run(
        [sys.executable, "-c", script], check=True, timeout=10, env={"PYTHONPATH": os.pathsep.join(sys.path)}
    )


def test_probes_run_side_by_side_and_come_back_in_the_order_they_end(server: HostileServer) -> None:
    endpoints: list[Endpoint] = [
        parse_endpoint("slow", url=f"{server.url}/slow"),
        parse_endpoint("ok", url=f"{server.url}/ok"),
    ]
    probes = Probes(endpoints, timeout=2, max_body=1000)
    assert list(probes.finished(0)) == []
    probes.start(0)
    probes.start(1)
    seen = [index for _ in range(2) for index, _ in probes.finished(1)]
    assert seen == [1, 0]
