# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What an nginx that somebody has configured needs: one file of the app's own, and a way in for users from a server block of theirs."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import typing
import urllib.parse
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.access_log_nginx import NginxAccessLog
from ansible_collections.baton.release.plugins.module_utils.adopt import (
    ADVICE,
    MISSING,
    OK,
    UNKNOWN,
    Edit,
    Finding,
    Wanted,
    whole_files,
)
from ansible_collections.baton.release.plugins.module_utils.adopt_listeners import (
    answers,
    not_asked,
    overlap,
    port_of,
    ways_in,
)
from ansible_collections.baton.release.plugins.module_utils.balancer_nginx import OLDEST, Nginx
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.nginx_config import Directive, directives, every, included
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS
from ansible_collections.baton.release.plugins.module_utils.switch import observe
from ansible_collections.baton.release.plugins.module_utils.traffic_probes import AGENT

__all__ = ["findings"]

_FINGERPRINT = re.compile(r'"configuration":"([0-9a-f]*)"')
_SECONDS = 5.0


def findings(wanted: Wanted) -> list[Finding]:
    """Look, and return what is there and what is missing."""
    told = _told(wanted.admin)
    tree = directives(wanted.main_config)
    addresses = _addresses(wanted, tree, told)
    own = whole_files({str(wanted.config_path): wanted.configuration}, "configuration")
    if addresses.state == MISSING:
        own = own.withheld()
    found = [_version(wanted, told), addresses, whole_files(wanted.files), own, _included(wanted)]
    runs = _runs(wanted, told, own)
    found.append(runs)
    reached = not_asked("what runs lacks what would show it")
    if told is not None:
        try:
            reached = ways_in(wanted, {slot: f"http://{wanted.listen[slot]}" for slot in SLOTS}, _opener(wanted))
        except BatonError as error:
            reached = [Finding.of("log", error)]
    led = [_with_edit(one, wanted, tree) for one in reached]
    found += [one.withheld() for one in led] if addresses.state == MISSING else led
    return [*found, *(_driver(wanted) if told is not None else [])]


def _told(admin: str) -> dict[str, typing.Any] | None:
    """Return what nginx says of its configuration; None where it does not, or not as the role has it."""
    parts = urllib.parse.urlsplit(admin)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_SECONDS)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        told = json.loads(connection.getresponse().read(1 << 20))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return told if isinstance(told, dict) and {"app", "configuration", "version"} <= set(told) else None


def _version(wanted: Wanted, told: typing.Mapping[str, typing.Any] | None) -> Finding:
    version = str(told["version"]) if told else _version_of(wanted.command)
    numbers = version.split(".")[:2]
    if not version:
        return Finding("version", UNKNOWN, f"{wanted.command} -v did not say")
    if all(one.isdigit() for one in numbers) and tuple(map(int, numbers)) >= OLDEST:
        return Finding("version", OK, f"nginx {version}")
    return Finding(
        "version", MISSING, f"nginx {version}", f"nginx {'.'.join(map(str, OLDEST))} or newer", "install a newer nginx"
    )


def _version_of(command: str) -> str:
    try:
        said = subprocess.run([command, "-v"], capture_output=True, text=True, timeout=10, check=False).stderr
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"nginx/([0-9.]+)", said)
    return found[1] if found else ""


def _others(tree: typing.Iterable[Directive], wanted: Wanted) -> list[Directive]:
    """Return the server blocks of others."""
    blocks = [one for one in tree if one.name == "http"]
    return [one for one in every(blocks, "server") if one.block is not None and one.path != str(wanted.config_path)]


def _addresses(
    wanted: Wanted, tree: typing.Iterable[Directive], told: typing.Mapping[str, typing.Any] | None
) -> Finding:
    """Find listeners that others have: for the public only the default server of its port counts, for the rest any."""
    listens = [
        (one, listen.arguments)
        for one in _others(tree, wanted)
        for listen in one.block or ()
        if listen.name == "listen"
    ]
    taken = [
        f"{address} ({entry}) by the server at {server.path}, line {server.first}"
        for entry, address in wanted.listen.items()
        for server, arguments in listens
        if arguments and overlap(address, arguments[0]) and (entry != "public" or "default_server" in arguments)
    ]
    if told is None and not taken:
        taken = [
            f"{address} ({entry}), which something answers at"
            for entry, address in wanted.listen.items()
            if answers(address)
        ]
        # The server blocks of nginx share a port, and that is all of the public's concern there.
        ports = {arguments[0] for _server, arguments in listens if arguments}
        taken = [one for one in taken if not any(overlap(one.split(" ", 1)[0], port) for port in ports)]
    if not taken:
        return Finding("addresses", OK, f"nothing else has {', '.join(wanted.listen.values())}")
    return Finding(
        "addresses",
        MISSING,
        "; ".join(taken),
        "an address of this machine for each, which nothing else has",
        "in the inventory give nginx_listen another one, such as 127.0.0.1:8080 (traffic_url stays what users ask), or traffic_preview or"
        " traffic_admin, and run this again for the lines",
    )


def _included(wanted: Wanted) -> Finding:
    if included(wanted.config_path, wanted.main_config):
        return Finding("included", OK, f"{wanted.main_config} includes {wanted.config_path} in its block http")
    blocks = [one for one in directives(wanted.main_config) if one.name == "http"]
    edits = [
        Edit(
            str(wanted.main_config),
            one.last,
            0,
            (f"    include {wanted.config_path};",),
            f"before line {one.last} (the end of http)",
        )
        for one in blocks[:1]
    ]
    return Finding(
        "included",
        MISSING,
        f"{wanted.main_config} {'does not include ' + str(wanted.config_path) if blocks else 'has no block http, or cannot be read'}",
        "that it does, in its block http",
        "add the line, or have nginx_config_path and nginx_main_config as this nginx has them",
        tuple(edits),
    )


def _runs(wanted: Wanted, told: typing.Mapping[str, typing.Any] | None, own: Finding) -> Finding:
    expected = _FINGERPRINT.search(wanted.configuration)
    fix = (
        "check the files (nginx -t), and reload nginx"
        if own.state == OK
        else "write the file, check all (nginx -t), and reload nginx"
    )
    if told is None:
        found = f"{wanted.admin} does not answer as nginx does with this configuration"
    elif (told["app"], Path(str(told.get("state")))) != (wanted.app_name, wanted.state_dir):
        found = f"{wanted.admin} is the listener of {told['app']} with the links in {told.get('state')}"
        fix = "give each app a traffic_admin of its own, and run this again"
    elif expected and told["configuration"] != expected[1]:
        found = f"nginx runs with another configuration than {wanted.config_path} is to have"
    else:
        return Finding(
            "running", OK, f"nginx runs with the configuration for {wanted.app_name}, which names its servers"
        )
    return Finding("running", MISSING, found, f"an nginx that runs with {wanted.config_path}", fix)


def _opener(wanted: Wanted) -> typing.Callable[[typing.Mapping[str, str]], NginxAccessLog]:
    return lambda match: NginxAccessLog(Path(wanted.access_log), cursor=None, match=match, own_agent=AGENT)


def _with_edit(finding: Finding, wanted: Wanted, tree: typing.Iterable[Directive]) -> Finding:
    """Add to a finding that users' requests do not come through how they would."""
    if finding.name != "entry" or finding.state == OK:
        return finding
    fix = f"have the server block that takes users' requests pass those for {wanted.app_name} on to {wanted.listen['public']}, as below,"
    fix += " and reload nginx; do it once a slot is live, because until then they would get 503"
    return Finding(finding.name, finding.state, finding.found, finding.expected, fix, tuple(_edits(wanted, tree)))


def _edits(wanted: Wanted, tree: typing.Iterable[Directive]) -> typing.Iterator[Edit]:
    port = f":{port_of(wanted.url)}"
    fronts = [
        one
        for one in _others(tree, wanted)
        if any(
            listen.name == "listen" and f":{listen.arguments[0]}".endswith(port)
            for listen in one.block or ()
            if listen.arguments
        )
    ]
    lines = tuple(f"    {line}" for line in wanted.entry.splitlines())
    if len(fronts) != 1:
        return
    (front,) = fronts
    there = [one for one in front.block or () if one.name == "location" and one.arguments == ("/",)]
    at, last = (there[0].first, there[0].last) if there else (front.last, front.last - 1)
    where = f"in place of lines {at} to {last} (location /)" if there else f"before line {at} (the end of the server)"
    # Several on one line cannot be told apart by their lines.
    if front.first < at and (not there or last < front.last):
        yield Edit(front.path, at, last + 1 - at, lines, where)


def _driver(wanted: Wanted) -> list[Finding]:
    nginx = Nginx(wanted.admin, wanted.app_name, wanted.health_path, wanted.state_dir)
    try:
        found = observe(nginx, wanted.state_dir)
        warnings = nginx.warnings()
    except BatonError as error:
        return [Finding.of("lb_switch", error)]
    can = Finding("lb_switch", OK, f"it can switch this nginx; live is {found['live']}")
    return [can, *(Finding("processes", ADVICE, warning.rstrip(".")) for warning in warnings)]
