# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A watch over a log that grows meanwhile, with probes through a real server, and over a real Caddy."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import typing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baton.release.plugins.modules import traffic_watch

Result = typing.Dict[str, typing.Any]  # noqa: UP006 - evaluated on Python 3.9 too


def line(status: int = 200, ms: float = 5, slot: str | None = "green", **more: object) -> str:
    fields: Result = {"msg": "handled request", "ts": time.time(), "status": status, "duration": ms / 1000, **more}
    return json.dumps({**fields, **({"slot": slot} if slot else {})}) + "\n"


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(text)


class Run(typing.Protocol):
    """How the tests call the module."""

    def __call__(self, *, check: bool = False, fails: bool = False, **options: typing.Any) -> Result: ...


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_text(line(500) * 3, encoding="utf-8")  # from before the watch
    return path


@pytest.fixture
def run(log: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the module in this process and insists on how it ends."""

    def call(*, check: bool = False, fails: bool = False, **options: typing.Any) -> Result:
        arguments = {"access_log": str(log), "slot": "green", "seconds": 0, "_ansible_check_mode": check, **options}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            traffic_watch.main()
        result: Result = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == fails, result
        return result

    return call


@contextlib.contextmanager
def writing(log: Path, *texts: str, every: float = 0.02) -> typing.Iterator[None]:
    """Append the texts one after the other, over and over, while the body runs."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for text in texts:
                append(log, text)
                stop.wait(every)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


@contextlib.contextmanager
def balancer(log: Path | None, answer: typing.Callable[[BaseHTTPRequestHandler], None]) -> typing.Iterator[str]:
    """Run a server that answers with ``answer`` and then logs as Caddy does; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)
            if log:
                append(log, line())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fine(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "2")
    handler.end_headers()
    handler.wfile.write(b"ok")


def test_a_healthy_slot_that_is_written_about_while_it_is_watched(run: Run, log: Path) -> None:
    with writing(log, line(), line(slot="blue"), line(404)):
        result = run(seconds=0.6, min_requests=10)
    assert result["verdict"] == "healthy"
    assert not result["changed"]
    assert result["slice"]["requests"] >= 10
    assert result["slice"]["errors"] == 0
    assert set(result["slice"]["by_status"]) == {"200", "404"}
    assert (result["slice"]["p50_ms"], result["slice"]["p95_ms"], result["slice"]["max_ms"]) == (5, 5, 5)
    assert result["other_slots"]["blue"]["requests"] > 0
    assert result["line"] == f"green: {result['slice']['requests']} requests, 0 errors (0.00 %), p95 5 ms"
    assert 0.6 <= result["seconds"] < 0.9


def test_a_breach_is_returned_at_once(run: Run, log: Path) -> None:
    started = time.monotonic()
    with writing(log, line(), line(), line(503)):
        failed = run(seconds=30, fails=True)
    assert time.monotonic() - started < 2
    assert "requests (" in failed["msg"]
    assert "failed on green. Expected: at most 1.0 %. To do: take traffic off green" in failed["msg"]
    assert failed["verdict"] == "breach"
    assert failed["slice"]["errors"] >= 2
    assert failed["slice"]["by_status"]["503"] == failed["slice"]["errors"]
    assert failed["first_error_at"].startswith("20")
    assert failed["cursor"]["offset"] > 0


def test_a_breach_can_be_left_to_the_play(run: Run, log: Path) -> None:
    with writing(log, line(503)):
        assert run(seconds=30, fail_on_breach=False)["verdict"] == "breach"


def test_slowness_is_judged_early_with_many_requests(run: Run, log: Path) -> None:
    started = time.monotonic()
    with writing(log, line(ms=300) * 10):
        failed = run(seconds=30, fails=True, max_p95_ms=200, min_requests=10)
    assert time.monotonic() - started < 2
    assert "a 95th percentile of 300 ms on green. Expected: at most 200 ms" in failed["msg"]


def test_slices_join_without_a_gap_and_the_whole_watch_is_judged(run: Run, log: Path) -> None:
    first = run()
    assert (first["verdict"], first["slice"]["requests"]) == ("inconclusive", 0)
    assert first["line"] == "green: 0 requests, 0 errors (0.00 %), no latency"
    append(log, line() * 15)
    second = run(cursor=first["cursor"], totals=first["totals"])
    assert (second["verdict"], second["slice"]["requests"]) == ("inconclusive", 15)
    append(log, line(500) + line() * 14)
    log.rename(log.with_name("access-1.log"))
    append(log, line() * 5)
    third = run(cursor=second["cursor"], totals=second["totals"])
    assert (third["verdict"], third["slice"]["requests"], third["totals"]["requests"]) == ("healthy", 20, 35)
    append(log, line(500) + line() * 9)
    fourth = run(cursor=third["cursor"], totals=third["totals"], fails=True)
    assert "2 of 45 requests (4.4 %) failed on green since the watch began" in fourth["msg"]
    assert not fourth["gap"]


def test_other_slots_do_not_count_and_errors_without_a_slot_do(run: Run, log: Path) -> None:
    cursor = run()["cursor"]
    append(log, line(500, slot="blue") * 5 + line() * 20 + line(308, slot=None))
    result = run(cursor=cursor)
    assert result["other_slots"] == {"blue": {"requests": 5, "errors": 5, "p95_ms": 5}}
    assert (result["verdict"], result["unlabelled"]) == ("healthy", 1)
    append(log, line(503, slot=None) * 2)
    failed = run(cursor=result["cursor"], totals=result["totals"], fails=True)
    assert failed["slice"]["by_status"] == {"503 without slot": 2}


def test_in_a_step_the_slot_is_judged_alone_and_by_what_is_live_beside_it(run: Run, log: Path) -> None:
    cursor = run()["cursor"]
    append(log, line() * 300 + line(500, slot="blue") * 30 + line(slot="blue") * 300)
    result = run(cursor=cursor, compare=True)
    assert result["verdict"] == "healthy"
    assert (
        result["line"]
        == "green: 300 requests, 0 errors (0.00 %), p95 5 ms; blue: 330 requests, 30 errors (9.09 %), p95 5 ms"
    )
    worse = line(500) * 2 + line() * 298 + line(slot="blue") * 6000
    append(log, worse)
    assert run(cursor=result["cursor"])["verdict"] == "healthy"
    failed = run(cursor=result["cursor"], compare=True, fails=True)
    assert "2 of 300 requests (0.67 %) failed on green, and 0 of 6000 (0.0 %) on blue at the same time" in failed["msg"]
    append(log, line(ms=300) * 100 + line(slot="blue") * 100)
    slower = {"cursor": failed["cursor"], "compare": True}
    assert "expected: at most 2 times that of blue" in run(**slower, fails=True)["msg"].lower()
    assert run(**slower, max_slowdown=0)["verdict"] == "healthy"


def test_only_entries_with_the_wanted_fields_count(run: Run, log: Path) -> None:
    cursor = run()["cursor"]
    append(log, line(500, entry="preview") * 5 + line(entry="public") * 20)
    result = run(cursor=cursor, match={"entry": "public"})
    assert (result["verdict"], result["slice"]["requests"]) == ("healthy", 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026/11/23 INFO handled request\n", "1 lines in the log that are no requests in JSON"),
        (line(slot=None) * 20, "20 requests in the log, none of which names a slot"),
    ],
)
def test_a_log_that_does_not_show_what_it_should_is_an_error(run: Run, log: Path, text: str, message: str) -> None:
    cursor = run()["cursor"]
    append(log, text)
    assert message in run(cursor=cursor, fails=True)["msg"]


def test_a_missing_log_is_an_error_but_not_in_check_mode(run: Run) -> None:
    missing: Result = {"access_log": "/nonexistent/access.log", "url": "http://127.0.0.1:1", "seconds": 30}
    assert "no readable log at /nonexistent/access.log" in run(fails=True, **missing)["msg"]
    result = run(check=True, cursor={"inode": 1, "offset": 2, "head": 3}, **missing)
    assert (result["verdict"], result["seconds"], result["probes"]["sent"]) == ("inconclusive", 0, 0)
    assert result["cursor"] == {"inode": 1, "offset": 2, "head": 3}


# --- probes ---


def test_probes_fill_a_window_without_users(run: Run, log: Path) -> None:
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append((handler.path, handler.headers["Host"]))
        fine(handler)

    with balancer(log, answer) as url:
        result = run(
            seconds=0.5, url=url, probe_rate=40, probe_paths=["/", "/a?b"], probe_host="shop.test", min_requests=10
        )
    assert result["verdict"] == "healthy"
    assert result["probes"]["sent"] == result["probes"]["answered"] == len(asked) >= 10
    assert set(asked) == {("/", "shop.test"), ("/a?b", "shop.test")}
    assert result["slice"]["requests"] in (len(asked), len(asked) - 1)  # each once: from the log


def test_probes_bring_the_cookie_that_they_are_given(run: Run, log: Path) -> None:
    cookies = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        cookies.append(handler.headers["Cookie"])
        fine(handler)

    with balancer(log, answer) as url:
        run(seconds=0.2, url=url, probe_rate=40, probe_cookie="baton_share=0", min_requests=1)
        run(seconds=0.1, url=url, probe_rate=40, min_requests=1)
    assert set(cookies) == {"baton_share=0", None}
    assert run(probe_cookie="a\nb", fails=True)["msg"].startswith("Found: probe_cookie")


def test_probes_that_are_refused_are_errors(run: Run) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but not listening
        failed = run(seconds=30, url=f"http://127.0.0.1:{unused.getsockname()[1]}", fails=True)
    assert failed["slice"]["by_status"] == {"probe refused": failed["probes"]["failed"]}
    assert failed["first_error_at"]


def test_a_slice_waits_for_probes_that_hang_and_counts_them(run: Run) -> None:
    with balancer(None, lambda _handler: time.sleep(0.6)) as url:
        failed = run(seconds=0.1, url=url, probe_rate=50, probe_timeout=0.2, fails=True)
    assert set(failed["slice"]["by_status"]) == {"probe timeout"}
    assert failed["seconds"] < 1


def test_probes_that_are_not_in_the_log_mean_that_it_is_the_wrong_log(run: Run, log: Path) -> None:
    with balancer(None, fine) as url:
        failed = run(seconds=0.2, url=url, probe_rate=50, fails=True)
        assert "none of them among the 0 requests in the log" in failed["msg"]
    with balancer(log, fine) as url:
        failed = run(seconds=0.2, url=url, probe_rate=50, match={"entry": "public"}, fails=True)
    assert "correct access_log, url or match" in failed["msg"]


@pytest.mark.parametrize("options", [{"probe_rate": -1}, {"probe_rate": 51}, {"url": "ftp://x"}, {"totals": {"a": 1}}])
def test_options_that_make_no_sense_are_refused(run: Run, options: Result) -> None:
    run(fails=True, **options)


# --- a real Caddy ---


def upstream(connection: socket.socket) -> None:
    """Answer one request, or break off as its path says."""
    with connection:
        path = connection.recv(65536).split(b" ")[1]
        if path == b"/half":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        elif path == b"/drip":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(100):
                    connection.sendall(b"x")
                    time.sleep(0.01)
        elif path == b"/late":
            time.sleep(0.3)
        elif path != b"/none":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@contextlib.contextmanager
def app() -> typing.Iterator[int]:
    """Run ``upstream`` for each connection; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=upstream, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def caddy_config(port: int, app_port: int, log: Path) -> Result:
    fields = [
        {"handler": "log_append", "key": key, "value": value, "early": True}
        for key, value in (("slot", "green"), ("entry", "public"))
    ]
    proxy = {"handler": "reverse_proxy", "upstreams": [{"dial": f"127.0.0.1:{app_port}"}]}
    access = {
        "writer": {"output": "file", "filename": str(log)},
        "encoder": {"format": "json"},
        "include": ["http.log.access.shop", "http.handlers.reverse_proxy"],
    }
    server = {
        "listen": [f"127.0.0.1:{port}"],
        "automatic_https": {"disable": True},
        "logs": {"default_logger_name": "shop"},
        "routes": [{"handle": [*fields, proxy]}],
    }
    return {
        "admin": {"disabled": True},
        "logging": {"logs": {"default": {"level": "FATAL"}, "access": access}},
        "apps": {"http": {"servers": {"shop": server}}},
    }


@contextlib.contextmanager
def caddy(directory: Path, log: Path) -> typing.Iterator[int]:
    """Run Caddy before an app; its port."""
    program = shutil.which("caddy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    assert program is not None, "requirements.txt installs Caddy"
    from tests.postgres import free_port  # noqa: PLC0415 - most tests run without psycopg

    port = free_port()
    with app() as app_port:
        config = directory / "caddy.json"
        config.write_text(json.dumps(caddy_config(port, app_port, log)), encoding="utf-8")
        environment = {
            **os.environ,
            "HOME": str(directory),
            "XDG_CONFIG_HOME": str(directory),
            "XDG_DATA_HOME": str(directory),
        }
        process = subprocess.Popen(
            [program, "run", "--config", str(config)], env=environment, stderr=subprocess.DEVNULL
        )
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait(10)


def ask(port: int, path: str, *, patience: float = 5) -> None:
    """Ask once, and hang up when the patience is over."""
    deadline = time.monotonic() + patience
    with socket.create_connection(("127.0.0.1", port)) as connection, contextlib.suppress(OSError):
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        while time.monotonic() < deadline:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            if not connection.recv(4096):
                break


def test_a_real_caddys_log_tells_who_broke_off(run: Run, log: Path, tmp_path: Path) -> None:
    with caddy(tmp_path, log) as port:
        cursor = run()["cursor"]
        for path, patience in (("/", 5.0), ("/none", 5.0), ("/half", 5.0), ("/drip", 0.3), ("/late", 0.1)):
            ask(port, path, patience=patience)
        time.sleep(0.3)
        result = run(
            cursor=cursor, url=f"http://127.0.0.1:{port}", seconds=0.2, match={"entry": "public"}, fail_on_breach=False
        )
    # /drip and /late were the client's doing; /none and /half the app's.
    assert result["slice"]["client_aborts"] == 2, result
    assert result["slice"]["errors"] == 2
    assert result["slice"]["cut_off"] == 0
    assert result["slice"]["by_status"]["200 cut"] in (1, 2)
    assert result["verdict"] == "breach"
    assert result["probes"]["failed"] == 0
