# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the check says of HAProxys that people have configured themselves; and that what it says is enough, and nothing too much."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import threading
import time
import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.adopt import ADVICE, MISSING, UNKNOWN
from ansible_collections.baton.release.plugins.module_utils.door import MAINTENANCE, OPEN, Door
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import Runtime
from ansible_collections.baton.release.plugins.module_utils.server_change import WantedStates, put_states

from tests.balancers.adopting import check, digest, lacking, make
from tests.balancers.running_own_haproxy import OWN, RunningOwnHAProxy

WAYS = {"preview blue", "preview green", "entry"}
ALL = {"files", "map", "configuration", "global", "running"} | WAYS
NOBODY = 65534


@pytest.fixture
def own(haproxy_command: str, tmp_path: Path) -> typing.Iterator[RunningOwnHAProxy]:
    """Return an HAProxy of somebody's own; it is not started yet."""
    running = RunningOwnHAProxy(haproxy_command, tmp_path)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def adopted(own: RunningOwnHAProxy) -> RunningOwnHAProxy:
    """Return one that has all that is needed, and runs."""
    make(own.check())
    own.start()
    own.await_up()
    assert lacking(own.check()) == set()
    return own


def shown(own: RunningOwnHAProxy) -> list[str]:
    """Return what this HAProxy says of itself, without times."""
    runtime = Runtime(own.master)
    (worker,) = runtime.workers()
    rows = [line.split() for line in runtime.ask(worker, "show servers state").splitlines()]
    servers = str([words[:9] + words[18:19] for words in rows])
    return [runtime.ask(worker, "show map"), runtime.ask(worker, "show backend"), servers, str(worker.pid)]


@contextlib.contextmanager
def traffic(own: RunningOwnHAProxy) -> typing.Iterator[list[str]]:
    """Have somebody ask all the time, each on a connection of their own; what they got is in the list."""
    got: list[str] = []
    over = threading.Event()

    def ask_once() -> str:
        try:
            status, slot, _host = own.get(address=own.users)
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        return slot if status == 200 else str(status)

    def ask_on() -> None:
        while not over.wait(0.01):
            got.append(ask_once())

    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        yield got
    finally:
        over.set()
        thread.join()


def test_what_it_says_is_enough_and_interrupts_nobody(own: RunningOwnHAProxy) -> None:
    own.start()
    with traffic(own) as got:
        found = own.check()
        assert lacking(found) == ALL
        make(found)
        # On disk is one thing, what runs another.
        assert "the files have it: reload HAProxy" in own.check()["running"].fix
        own.reload()
        own.await_up()
        assert lacking(own.check()) == set()
        assert own.get(address=own.users)[1] == "before"
        own.switch("blue", "none")
        own.switch("green", "blue", drain=5)
        until = time.monotonic() + 10
        while got[-1] != "green" and time.monotonic() < until:
            time.sleep(0.01)
    assert set(got) == {"before", "blue", "green"} or set(got) == {"before", "green"}, set(got)
    assert got == sorted(got, key=["before", "blue", "green"].index)
    # Another site on the same address is where it was.
    connection = http.client.HTTPConnection(own.users, timeout=10)
    connection.request("GET", "/", headers={"Host": "other.example.com"})
    assert connection.getresponse().getheader("X-Slot") == "before"
    connection.close()
    assert own.check()["lb_switch"].found == "it can switch this HAProxy; live is green"


def test_all_that_lb_switch_does_works_there_and_survives(adopted: RunningOwnHAProxy) -> None:
    adopted.switch("blue", "none")
    adopted.switch("green", "blue", share=30)
    adopted.switch("green", "blue")
    adopted.switch("mixed", "green", seats={"app1": "blue"})
    users = adopted.users
    assert {adopted.get(address=users)[1:] for _ in range(8)} == {("blue", "app1"), ("green", "app2")}
    adopted.switch("green", "mixed", drain=5)
    wanted = WantedStates(
        slot="green", states={"app1": "drain"}, health_path="/health/ready", min_up=1, wait=5, drain=5
    )
    put_states(adopted.balancer(), wanted, state_dir=adopted.state, token=None, check_mode=False)
    adopted.move_door(Door(MAINTENANCE, retry_after=7))
    adopted.reload()
    adopted.kill()
    adopted.start()
    assert adopted.get(address=users)[0] == 503
    assert adopted.get("/health/live", address=users)[1:] == ("green", "app2")
    adopted.move_door(Door(OPEN))
    assert {adopted.get(address=users)[1:] for _ in range(8)} == {("green", "app2")}
    assert lacking(adopted.check()) == set()


def test_it_changes_nothing(own: RunningOwnHAProxy) -> None:
    own.start()
    before = digest(own.etc, own.directory), shown(own)
    log = own.directory / "program.log"
    untouched = log.read_text()
    own.check()
    log.write_text(untouched)
    os.utime(log, ns=(0, 0))
    assert not own.state.exists()
    assert shown(own) == before[1]
    again = digest(own.etc)
    own.check()
    assert digest(own.etc) == again
    make(own.check())
    own.reload()
    own.await_up()
    own.switch("blue", "none")
    before = digest(own.etc, own.state), shown(own)
    assert lacking(own.check()) == set()
    assert (digest(own.etc, own.state), shown(own)) == before


def test_a_socket_that_is_not_there_or_may_do_too_little(own: RunningOwnHAProxy) -> None:
    own.with_master = False
    own.write()
    own.start()
    found = own.check()
    assert found["socket"].state == MISSING
    assert f"start HAProxy with -Ws -S {own.master}" in found["socket"].fix
    assert found["running"].state == found["entry"].state == UNKNOWN
    # With a stats socket in traffic_admin, which the role would write too, the line is said.
    found = own.check(own.stats)
    assert [edit.lines for edit in found["socket"].edits] == [(f"    stats socket {own.stats} mode 600 level admin",)]
    own.kill()
    own.write(socket=f"stats socket {own.stats} mode 660 level operator")
    own.start()
    own.eventually(own.stats.exists)
    found = own.check(own.stats)
    assert found["socket"].found == f"the socket {own.stats} is of level operator"
    make(found)
    assert own.own.read_text().count("stats socket") == 1
    own.kill()
    own.start()
    own.eventually(lambda: own.balancer(own.stats).pools() is not None)
    own.eventually(lambda: all(len(pool["up"]) == 2 for pool in (own.balancer(own.stats).pools() or {}).values()))
    found = own.check(own.stats)
    assert lacking(found) == set()
    assert found["socket"].state == ADVICE
    assert "Name the master's socket" in found["socket"].found
    own.switch("blue", "none", driver=own.balancer(own.stats))
    assert own.get(address=own.users)[1] == "blue"


def test_a_user_who_may_not_use_the_socket_nor_read_the_files(adopted: RunningOwnHAProxy) -> None:
    wanted = adopted.wanted()
    adopted.master.chmod(0)
    adopted.own.chmod(0)
    effective = os.geteuid()
    with contextlib.ExitStack() as stack:
        if effective == 0:
            adopted.directory.chmod(0o755)
            adopted.etc.chmod(0o755)
            os.seteuid(NOBODY)
            stack.callback(os.seteuid, 0)
        found = check("haproxy", wanted)
    assert "may not be used by this user" in found["socket"].found
    assert "set become for the hosts of the group lb" in found["socket"].fix
    assert f"{adopted.own} cannot be read" in found["configuration"].found
    assert {"files", "map", "running"} <= lacking(found)
    assert "cannot be read" in found["files"].found
    assert found["files"].edits == ()


def test_what_answers_is_no_haproxy(own: RunningOwnHAProxy) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(own.master))
        listener.listen(8)

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with listener.accept()[0] as connection:
                        connection.recv(1000)
                        connection.sendall(b"what?\n")

        threading.Thread(target=answer, daemon=True).start()
        found = own.check()
        listener.shutdown(socket.SHUT_RDWR)
    assert f"what answers at {own.master} makes no sense" in found["socket"].found
    assert found["running"].state == UNKNOWN


WRONG = {
    "a slot's backend has another name": (
        r"(?m)^backend shop_blue$",
        "backend shop_left",
        "backend shop_blue: is missing",
    ),
    "a server has another port": (
        r"(server app1_\d+ 127.0.0.1:)\d+ check",
        r"\g<1>9 check",
        "backend shop_blue: lacks 'server app1_",
    ),
    "a server has another name": (r"server app1_\d+( \S+ check)", r"server web9\1", "and has 'server web9"),
    "a server is missing": (r"    server app2_\d+ \S+ check\n", "", "backend shop_blue: lacks 'server app2_"),
    "a server is one too many": (
        r"(    server app2_\d+ \S+ check\n)",
        r"\1    server app9_1 127.0.0.1:1 check\n",
        "has 'server app9_1",
    ),
    "nothing is looked up at the request": (
        r"    use_backend shop_%\[var\(txn.word\),field\(1,:\)\]\n",
        "    use_backend shop_blue\n",
        "frontend shop: lacks 'use_backend shop_%[var(txn.word),field(1,:)]' and has 'use_backend shop_blue'",
    ),
    "the page comes after the slot": (
        r"(    use_backend shop_maintenance .*\n)((?:    use_backend .*\n)+)",
        r"\2\1",
        "frontend shop: has its lines in another order",
    ),
    "states do not survive a restart": (
        r"    load-server-state-from-file local\n",
        "",
        "lacks 'load-server-state-from-file local'",
    ),
    "its log tells nothing of use": (
        r"    log-format .*\n",
        "    option httplog\n",
        "frontend shop: lacks 'log-format",
    ),
    "a reload would reset connections": (
        r"    option idle-close-on-response\n",
        "",
        "lacks 'option idle-close-on-response'",
    ),
    "a line overrules one of the defaults": (
        r"(?m)(^backend shop_green\n)",
        r"\1    mode tcp\n",
        "backend shop_green: has 'mode tcp'",
    ),
    "the ring is smaller": (r"size \d+", "size 20000", "ring requests: lacks 'size 1048576'"),
    "there is no way for workers of before": (
        r"backend shop_handover\n(    .*\n)+",
        "",
        "backend shop_handover: is missing",
    ),
    "a section stands there twice": (
        r"(backend shop_shares\n(?:    .*\n)+)",
        r"\1\n\1",
        "backend shop_shares: is there 2 times",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_and_mended(own: RunningOwnHAProxy, name: str) -> None:
    pattern, by, said = WRONG[name]
    make(own.check())
    text = own.own.read_text()
    changed = re.sub(pattern, by, text, count=1)
    assert changed != text
    own.own.write_text(changed)
    found = own.check()
    assert said in found["configuration"].found
    assert "configuration" in lacking(found)
    make(found)
    assert own.check()["configuration"].state == "ok"


def test_what_runs_is_asked_and_not_believed_to_be_what_the_files_say(adopted: RunningOwnHAProxy) -> None:
    # Of another inventory: a third host, and another port of the first.
    port = adopted.servers["app1"]["blue"].rpartition(":")[2]
    servers = {
        **adopted.servers,
        "app1": {**adopted.servers["app1"], "blue": "127.0.0.1:9"},
        "app3": adopted.servers["app2"],
    }
    adopted.changes = {"groups": {"app": [*servers]}, "haproxy_servers": servers}
    found = adopted.check()
    assert "shop_blue has no server app1_9; " in found["running"].found
    assert f"shop_blue has a server app1_{port} more" in found["running"].found
    assert "shop_green has no server app3_" in found["running"].found
    make(found)
    assert "the files have it: reload HAProxy" in adopted.check()["running"].fix
    adopted.reload()
    assert lacking(adopted.check()) == set()


def test_an_address_that_somebody_has_is_never_shared(own: RunningOwnHAProxy) -> None:
    own.start()
    own.changes = {"haproxy_listen": f":{own.users.rpartition(':')[2]}"}
    found = own.check()
    assert f"(public) by frontend www ({own.own}, line " in found["addresses"].found
    assert "haproxy_listen" in found["addresses"].fix
    assert found["configuration"].edits == found["entry"].edits == ()
    # Or somebody else's program.
    own.changes = {"haproxy_listen": own.web.address}
    found = own.check()
    assert f"something answers at {own.web.address}" in found["free"].found
    assert found["configuration"].edits == found["entry"].edits == ()


def test_several_files_of_which_one_is_theirs(own: RunningOwnHAProxy) -> None:
    more = own.etc / "more.d"
    more.mkdir()
    (more / "10-other.cfg").write_text("backend third\n    server web1 127.0.0.1:1\n")
    own.start_with("-f", str(own.own), "-f", "more.d")
    before = own.own.read_text()
    found = own.check()
    (block,) = [edit for edit in found["configuration"].edits if edit.lines]
    assert (block.path, block.where) == (str(more / "10-other.cfg"), "at its end")
    make(found)
    assert "shop_blue" not in own.own.read_text() != before
    own.reload()
    own.await_up()
    assert lacking(own.check()) == set()
    own.switch("green", "none")
    assert own.get(address=own.users)[1] == "green"


def test_a_section_listen_of_theirs_goes_on_until_a_slot_is_live(own: RunningOwnHAProxy) -> None:
    listen = "listen www\n    bind {users}\n    server web1 {web} check\n"
    own.write(re.sub(r"frontend www.*", listen, OWN, flags=re.DOTALL))
    own.start()
    make(own.check())
    own.reload()
    own.await_up()
    assert lacking(own.check()) == set()
    assert own.get(address=own.users)[1] == "before"
    own.switch("green", "none")
    assert own.get(address=own.users)[1] == "green"


def test_users_who_come_by_another_way_are_noticed(adopted: RunningOwnHAProxy) -> None:
    adopted.own.write_text(adopted.own.read_text().replace("default_backend shop_handover", "default_backend web"))
    adopted.reload()
    found = adopted.check()
    assert lacking(found) == {"entry"}
    assert "answers 200, and does not come through" in found["entry"].found
    assert [edit.lines for edit in found["entry"].edits] == [("    default_backend shop_handover",)]
