# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a HAProxy that somebody has configured needs: asked of the one that runs, and compared with the files that it was started with."""

from __future__ import annotations

import functools
import grp
import os
import subprocess
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.access_log_haproxy import HAProxyRing
from ansible_collections.baton.release.plugins.module_utils.adopt import (
    ADVICE,
    MISSING,
    OK,
    UNKNOWN,
    Edit,
    Finding,
    Wanted,
    absent,
    readable,
    whole_files,
)
from ansible_collections.baton.release.plugins.module_utils.adopt_haproxy_files import Files
from ansible_collections.baton.release.plugins.module_utils.adopt_haproxy_running import (
    Running,
    differences,
    refuse_level,
    running,
)
from ansible_collections.baton.release.plugins.module_utils.adopt_listeners import answers, not_asked, ways_in
from ansible_collections.baton.release.plugins.module_utils.balancer_haproxy import HAProxy
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text
from ansible_collections.baton.release.plugins.module_utils.haproxy_config import parse
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import SilentError
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS
from ansible_collections.baton.release.plugins.module_utils.switch import observe
from ansible_collections.baton.release.plugins.module_utils.traffic_probes import AGENT

__all__ = ["findings"]

_SILENT = "HAProxy does not answer"


def findings(wanted: Wanted) -> list[Finding]:
    """Look, and return what is there and what is missing."""
    seen, asked = _asked(wanted)
    files = _files(wanted, seen)
    if isinstance(files, Finding):
        on_disk = [files]
    else:
        on_disk = [files.addresses(), files.configuration(), files.programs(), *filter(None, [files.reloads()])]
        asked = _with_edit(asked, wanted, files)
    taken = _taken(wanted, seen)
    found = [asked, *_version(wanted, seen), _lua(wanted), whole_files(wanted.files), _map(wanted), taken, *on_disk]
    runs = _runs(wanted, seen, files)
    reached = _reached(wanted, seen)
    if isinstance(files, Files):
        reached = [files.entry(one) if one.name == "entry" and one.state != OK else one for one in reached]
    found += [runs, *reached, _driver(wanted) if runs.state == OK else None]
    harmful = taken or on_disk[0].state == MISSING
    return [one.withheld() if harmful and one.name in ("configuration", "entry") else one for one in found if one]


def _asked(wanted: Wanted) -> tuple[Running | None, Finding]:
    admin = _haproxy(wanted).admin
    try:
        seen = running(admin)
    except SilentError as error:
        return None, Finding(
            "socket",
            MISSING,
            f"HAProxy does not answer ({error})",
            "its master's socket, best, or a stats socket of level admin, in traffic_admin",
            f"start HAProxy with -Ws -S {admin}{_rights(',mode,660,group,{}')} (Debian: EXTRAOPTS in /etc/default/haproxy; others: OPTIONS"
            " in /etc/sysconfig/haproxy; it takes a restart), or add a stats socket, name it in traffic_admin, and reload HAProxy",
        )
    except BatonError as error:
        return None, Finding.of("socket", error)
    except (LookupError, ValueError) as error:
        told = f"what answers at {admin} makes no sense ({error})"
        return None, Finding("socket", MISSING, told, "the socket of HAProxy", "correct traffic_admin")
    try:
        refuse_level(seen.level, admin)
    except BatonError as error:
        return seen, Finding.of("socket", error)
    warnings = _haproxy(wanted).warnings()
    if warnings:
        return seen, Finding("socket", ADVICE, f"{admin} answers, with level admin; {warnings[0].rstrip('.')}")
    return seen, Finding("socket", OK, f"the master's, {admin}, answers")


def _rights(text: str) -> str:
    """Return how a socket is given to the group of this user; nothing for root, who needs no such right."""
    return text.format(grp.getgrgid(os.getegid()).gr_name) if os.geteuid() else ""


def _with_edit(asked: Finding, wanted: Wanted, files: Files) -> Finding:
    if asked.state != MISSING:
        return asked
    rights = _rights(" mode 660 group {}") or " mode 600"
    edit = files.socket(f"    stats socket {wanted.admin}{rights} level admin")
    return Finding(asked.name, asked.state, asked.found, asked.expected, asked.fix, (edit,)) if edit else asked


def _files(wanted: Wanted, seen: Running | None) -> Files | Finding:
    paths = (seen.files if seen else ()) or (wanted.config_path,)
    texts = {str(path): readable(path) for path in paths}
    lacking = [path for path, text in texts.items() if text is None]
    if lacking:
        return Finding(
            "configuration",
            UNKNOWN if seen else MISSING,
            f"{', '.join(lacking)} cannot be read",
            "the files that HAProxy is started with, and a user who may read them",
            "set become for the hosts of the group lb, or correct haproxy_config_path",
        )
    whole = {path: text or "" for path, text in texts.items()}
    return Files(wanted, whole, parse(whole.items()), parse([("", wanted.configuration)]))


def _version(wanted: Wanted, seen: Running | None) -> list[Finding]:
    if seen is None:
        return []
    try:
        _haproxy(wanted).workers.views()
    except BatonError as error:
        return [Finding.of("version", error)]
    except SilentError as error:
        return [Finding("version", UNKNOWN, str(error))]
    return [Finding("version", OK, f"HAProxy {seen.version}")]


def _lua(wanted: Wanted) -> Finding | None:
    """Ask the program itself, which takes a moment and does nothing else."""
    if "lua-load" not in wanted.configuration:
        return None
    try:
        told = subprocess.run([wanted.command, "-vv"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("lua", UNKNOWN, f"{wanted.command} -vv did not say ({error})")
    if "Built with Lua" in told:
        return Finding("lua", OK, "this HAProxy has Lua")
    return Finding(
        "lua", MISSING, "a HAProxy without Lua", "Lua, without which requests cannot be held", "set haproxy_hold: false"
    )


def _map(wanted: Wanted) -> Finding:
    workers = _haproxy(wanted).workers
    path = workers.map_file
    try:
        text = read_text(path)
    except BatonError as error:
        return Finding.of("map", error)
    words = (text or "").split()
    if wanted.app_name in words[::2]:
        return Finding("map", OK, f"{path} says {dict(zip(words[::2], words[1::2]))[wanted.app_name]}")
    at = len((text or "").splitlines()) + 1
    where = "at its end" if text is not None else absent(path)
    return Finding(
        "map",
        MISSING,
        f"{path} {'has no line for ' + wanted.app_name if text is not None else 'is not there'}",
        "the file in which HAProxy finds what is live when it starts; without it, it does not start",
        "write it before HAProxy is reloaded; from then on it is lb_switch's",
        (Edit(str(path), at, 0, (f"{wanted.app_name} none",), where),),
    )


def _taken(wanted: Wanted, seen: Running | None) -> Finding | None:
    """Find addresses at which something else than this HAProxy answers."""
    if seen is None:
        return None
    names = {"public": wanted.app_name, **{slot: f"{wanted.app_name}_preview_{slot}" for slot in SLOTS}}
    taken = [
        wanted.listen[entry]
        for entry, name in names.items()
        if name not in seen.frontends and answers(wanted.listen[entry])
    ]
    if not taken:
        return None
    return Finding(
        "free",
        MISSING,
        f"something answers at {', '.join(taken)} already",
        "addresses that nothing else has",
        "give haproxy_listen or traffic_preview another one in the inventory, such as 127.0.0.1:8080, and run this again for the lines",
    )


def _runs(wanted: Wanted, seen: Running | None, files: Files | Finding) -> Finding:
    if seen is None:
        return Finding("running", UNKNOWN, f"not asked: {_SILENT}")
    needed = parse([("", wanted.configuration)])
    lacking = list(differences(needed, seen, _haproxy(wanted).workers.map_file))
    if not lacking:
        return Finding(
            "running",
            OK,
            f"HAProxy runs with all backends, servers, frontends, the map and the ring of {wanted.app_name}",
        )
    right = isinstance(files, Files) and files.configuration().state == OK
    fix = "the files have it: reload HAProxy" if right else "change the files as said, check them, and reload HAProxy"
    return Finding("running", MISSING, "; ".join(lacking), "what runs to have it too", fix)


def _reached(wanted: Wanted, seen: Running | None) -> list[Finding]:
    rings = {one.name for one in parse([("", wanted.configuration)]) if one.keyword == "ring"}
    if seen is None:
        return not_asked(_SILENT)
    if not rings <= seen.rings or wanted.app_name not in seen.frontends:
        return not_asked("what runs lacks what would show it")
    try:
        return ways_in(
            wanted, {slot: f"http://{wanted.listen[slot]}" for slot in SLOTS}, functools.partial(_ring, wanted)
        )
    except BatonError as error:
        return [Finding.of("entry", error)]


def _ring(wanted: Wanted, match: typing.Mapping[str, str]) -> HAProxyRing:
    return HAProxyRing(_haproxy(wanted).admin, cursor=None, match=match, own_agent=AGENT)


def _driver(wanted: Wanted) -> Finding:
    try:
        found = observe(_haproxy(wanted), wanted.state_dir)
    except BatonError as error:
        return Finding.of("lb_switch", error)
    return Finding("lb_switch", OK, f"it can switch this HAProxy; live is {found['live']}")


def _haproxy(wanted: Wanted) -> HAProxy:
    return HAProxy(Path(wanted.admin), wanted.app_name, wanted.state_dir)
