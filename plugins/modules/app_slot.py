#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""One slot of an app on one host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_slot
short_description: Have a version of an app in one of the two slots of a host
version_added: "1.0.0"
author:
  - The baton.release founders (@baton-release)
description:
  - Brings one slot to the wanted state in one call, because each remote call costs a start of Python on the host.
  - The artifact is checked against its SHA-256 before anything of it is used, and appears unpacked whole or not at all.
  - Runs partly on the controller, from which it copies the artifact where O(artifact_src) is given.
  - The live slot is not known here. It is the load balancer's truth, and the plan's business to name the idle one.
extends_documentation_fragment:
  - baton.release.attributes
  - baton.release.fence
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  state:
    description:
      - V(present) has the release of O(version) installed, and the slot given its environment and start script; whatever else ran in
        the slot is stopped.
      - V(installed) has the release of O(version) installed, and touches no slot.
      - V(started) has the slot of V(present) running, its port open.
      - V(stopped) has nothing running in the slot; V(absent) removes the slot, though not the installed releases.
      - V(verified) marks the slot's release as proven under traffic, removes old releases beyond O(keep_releases), and with
        O(runtime=systemd) and O(runtime=docker) has this slot and not the other one come back when the host does. With O(keep_hot) the
        other slot, if it runs, is stopped by itself when that time is over.
      - V(retired) stops the slot if its time was over already, and is for runtimes that have no timers.
      - V(singletons_stopped) has no singleton run on this host but those of O(singletons) from the slot, and V(singletons_started) has
        these run as well, and stay up. A slot that is stopped or gets another release has its own stopped before it, and V(verified) stops
        those of the other slot.
      - V(hot) has no slot stopped by itself any more, as every state does that changes a slot, and V(fenced).
      - V(fenced) makes the host refuse older leases from now on, and V(gathered) does not even that; both only read the slots and the
        installed releases.
    type: str
    choices:
      - present
      - installed
      - started
      - stopped
      - absent
      - verified
      - retired
      - singletons_started
      - singletons_stopped
      - hot
      - fenced
      - gathered
    default: present
  app_name:
    description: Name of the app.
    type: str
    required: true
  app_root:
    description: Directory of the app on this host, with C(releases/) and C(slots/) in it.
    type: path
    required: true
  slot:
    description: The slot. Required except for O(state=installed), O(state=hot), O(state=fenced) and O(state=gathered).
    type: str
    choices: [blue, green]
  version:
    description: The version, required for O(state=present), O(state=installed), O(state=started) and O(state=verified).
    type: str
  artifact:
    description:
      - Where this host finds the artifact, a path or a file, http or https URL.
      - Needed for O(state=present) and O(state=installed) while the release is not installed.
    type: str
  artifact_src:
    description: Path of the artifact on the controller, from where it is copied to this host if it is needed there.
    type: path
  sha256:
    description: SHA-256 of the artifact, required for O(state=present) and O(state=installed).
    type: str
  artifact_timeout:
    description: Seconds that the artifact's server may be silent.
    type: float
    default: 30
  port:
    description: The port that the app listens on in this slot, given to it as E(PORT). Required for O(state=present) and O(state=started).
    type: int
  instance:
    description: Name of this instance, given to the app as E(BATON_INSTANCE).
    type: str
    default: ""
  command:
    description:
      - What runs the app, word by word, in the directory of the release. Required for O(state=present) and O(state=started).
      - With O(runtime=docker) what runs in the container, or nothing for what its image or O(docker_compose) says.
    type: list
    elements: str
  environment:
    description: Environment of the app. Secrets do not belong here; M(baton.release.secret_fetch) puts them beside it.
    type: dict
    default: {}
  exclusive:
    description:
      - Whether O(state=started) stops the other slot first, because this host has no room for both.
      - This slot then is the one that comes back when the host does.
    type: bool
    default: false
  singletons:
    description:
      - For O(state=singletons_started) and O(state=singletons_stopped) the singletons that are to run from the slot on this host, processes
        beside the app of which at most one may run anywhere. Each has its name, and what it is given.
      - V(command) is what runs it, word by word, in the directory of the slot's release, with the environment of the slot and its own name
        in E(BATON_SINGLETON). V(stop_seconds), by default 30, is how long it may take to end after SIGTERM. V(host) is for the plan alone.
      - One that is given nothing, V({}), is given what it had when it last stayed up from the slot.
      - With O(runtime=docker) each runs in a container of its own, C(<app>-<slot>-<name>), which is described as that of the slot is, and
        gets the same environment. V(command) takes the place of that of the image or of O(docker_compose), not of an C(entrypoint), and
        V(stop_seconds) that of C(stop_grace_period). It runs in the C(working_dir), and no port is published. The engine starts it again,
        however it ended, until it is stopped; then its container is removed, with its log.
    type: dict
    default: {}
  singletons_stay:
    description: For O(state=singletons_started) the seconds for which each has to run without an end.
    type: float
    default: 5
  start_timeout:
    description: Seconds for the app to open its port.
    type: float
    default: 60
  stop_timeout:
    description: Seconds for the app to end after SIGTERM, before it is killed.
    type: int
    default: 30
  keep_releases:
    description: How many installed releases to keep, proven ones first. Those in a slot, and the last two that were verified, always stay.
    type: int
    default: 5
  keep_hot:
    description:
      - For O(state=verified) how long the other slot stays hot, such as V(90s), V(30m), V(1h) or V(2d). Then it is stopped, and stays
        installed. Without it the slot runs on until something else is installed there.
      - With O(runtime=systemd) a transient timer does that on the host. It stops the slot only if no newer lease was seen there and every
        load balancer of O(ask) serves O(version); otherwise it tries again every five minutes. Any later run cancels it first.
      - With O(runtime=docker) the same, on hosts that run systemd and have the program C(docker).
      - With O(runtime=supervisor), or without O(ask), it is only noted, for O(state=retired).
    type: str
    default: ""
  ask:
    description:
      - For O(keep_hot) the URLs at which this host reaches every load balancer as users do, each with a path that answers with the version.
    type: list
    elements: str
    default: []
  version_key:
    description: Where in the JSON of that answer the version is, keys joined by dots.
    type: str
    default: version
  runtime:
    description:
      - What supervises the processes.
      - V(systemd) needs the template unit that the role P(baton.release.provision#role) writes, and root. It hands the environment to the
        app, which then need not be able to read it. Only the slot that was kept last comes back when the host does; see O(state).
      - V(supervisor) starts every slot that was started and not stopped since, when it starts itself.
      - V(docker) runs each slot as one container, named after app and slot, and needs the Python package C(docker), 5.0 or newer
        (C(python3-docker)), and a user who may ask the engine. The environment, with the secrets in it, is given to the container from the
        files of the slot. Only the slot that was kept last is started again by the engine, after a crash or when the host comes back.
        A container by that name which this module has not made is refused and not touched.
    type: str
    choices: [docker, supervisor, systemd]
    default: supervisor
  docker_image:
    description:
      - For O(runtime=docker) the image, with C({version}) in its tag, or with a digest. O(state=present) needs this or O(docker_compose).
      - The image is taken as it is on this host, from O(docker_archive), or is pulled, but only if its name begins with a registry.
    type: str
    default: ""
  docker_compose:
    description:
      - For O(runtime=docker) a Compose file of the release instead, which describes the slot; C({slot}) in its path is the slot. Needs the
        Python package C(yaml) (C(python3-yaml)).
      - It has one service, with C(image) and C(ports) and, as needed, C(cap_drop), C(command), C(entrypoint), C(env_file), C(environment),
        C(init), C(mem_limit), C(read_only), C(restart), C(security_opt), C(stop_grace_period), C(tmpfs), C(user), C(volumes) with paths
        of the host, and C(working_dir). Anything else is refused. C(${PORT}), C(${BATON_VERSION}), C(${BATON_SLOT}) and
        C(${BATON_INSTANCE}) stand for what the slot is.
      - The published port is O(port); the app is told its own in E(PORT). C(stop_grace_period) takes the place of O(stop_timeout), and
        C(restart) says how the container is started again while this slot is the one that comes back.
    type: str
    default: ""
  docker_archive:
    description:
      - For O(runtime=docker) the path, in the release, of an archive of C(docker save) with the image in it.
      - C({version}) and C({slot}) in it stand for what they say.
    type: str
    default: ""
  docker_address:
    description: For O(runtime=docker) the IP address of this host at which the port is published.
    type: str
    default: 127.0.0.1
  supervisor_config:
    description: Configuration file of the host's supervisord.
    type: path
    default: /etc/supervisor/supervisord.conf
"""

EXAMPLES = r"""
- name: Install v1.1.0 into the idle slot
  baton.release.app_slot:
    app_name: shop
    app_root: /srv/shop
    state_dir: /var/lib/baton/shop
    slot: green
    version: v1.1.0
    artifact: https://artifacts.example.com/shop-v1.1.0.tar.gz
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    port: 8002
    command: [/usr/bin/python3, -m, shop]

- name: Install v1.1.0 into the idle slot, as the container that its Compose file describes
  baton.release.app_slot:
    app_name: shop
    app_root: /srv/shop
    state_dir: /var/lib/baton/shop
    slot: green
    version: v1.1.0
    artifact: https://artifacts.example.com/shop-v1.1.0.tar.gz
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    port: 8002
    command: []
    runtime: docker
    docker_compose: docker-compose.{slot}.yml
    docker_archive: image.tar
    docker_address: 10.0.0.5

- name: Read what this host has
  baton.release.app_slot:
    app_name: shop
    app_root: /srv/shop
    state_dir: /var/lib/baton/shop
    state: gathered
  register: host

- name: Have the mailer of v1.1.0 run, and that of no other version
  baton.release.app_slot:
    app_name: shop
    app_root: /srv/shop
    state_dir: /var/lib/baton/shop
    state: singletons_started
    slot: green
    version: v1.1.0
    singletons:
      mailer:
        command: [/usr/bin/python3, -m, shop.mailer]
"""

RETURN = r"""
slots:
  description:
    - Both slots with the version, the state of the process and whether the release in it is verified; also in how many seconds it is to be
      stopped by itself, null for never, and whether a timer does that.
    - And the singletons that have last stayed up from the slot, each with a digest of what it was given; null if none was asked for.
  returned: always
  type: dict
  sample:
    blue:
      {version: v1.0.0, state: running, pid: 4711, detail: "", current: true, verified: true, retires_in: 3500, timer: true, singletons: {}}
    green:
      {version: "", state: absent, pid: null, detail: "", current: false, verified: false, retires_in: null, timer: false, singletons: null}
singletons:
  description: The singletons that run on this host, or may be started again by what supervises them.
  returned: always
  type: list
  elements: dict
  sample:
    - {name: mailer, slot: blue, version: v1.0.0, digest: 6b86b273ff34fce1, state: running, pid: 4712, detail: ""}
releases:
  description: The installed releases, the latest installed first.
  returned: always
  type: list
  elements: dict
newest_token:
  description: The newest lease that this host has seen.
  returned: always
  type: int
schema_changes:
  description:
    - What this host has done to the schema of the database, the oldest first, each with the lease and the revisions that came or went.
      Where V(known) is false the module was cut off, and these are the revisions that may have come or gone.
  returned: always
  type: list
  elements: dict
  sample:
    - {token: 7, known: true, applied: ["0003"], contract: [], undone: []}
removed:
  description: The versions that were removed.
  returned: with O(state=verified)
  type: list
  elements: str
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baton.release.plugins.module_utils import app_slots, migration_log, retirement
from ansible_collections.baton.release.plugins.module_utils.durations import seconds_of
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.fence import FENCE_OPTIONS, fenced, newest_token
from ansible_collections.baton.release.plugins.module_utils.releases import Releases
from ansible_collections.baton.release.plugins.module_utils.rules import (
    ADDRESS,
    APP_NAME,
    BASE_URL_WITH_PATH,
    DURATION_OR_NOTHING,
    FILE,
    IMAGE_OR_NOTHING,
    INSIDE_OR_NOTHING,
    KEY_PATH,
    PORT,
    SECONDS,
    SOME_SECONDS,
    TAG,
    VALUE,
    refuse_unfit,
    whole,
)
from ansible_collections.baton.release.plugins.module_utils.runtimes import RUNTIMES, Runtime, runtime_of
from ansible_collections.baton.release.plugins.module_utils.singleton_settings import singletons_of
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS

STATES = [
    "present",
    "installed",
    "started",
    "stopped",
    "absent",
    "verified",
    "retired",
    "singletons_started",
    "singletons_stopped",
    "hot",
    "fenced",
    "gathered",
]
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    **FENCE_OPTIONS,
    "state": {"type": "str", "choices": STATES, "default": "present"},
    "app_name": {"type": "str", "required": True},
    "app_root": {"type": "path", "required": True},
    "slot": {"type": "str", "choices": list(SLOTS)},
    "version": {"type": "str"},
    "artifact": {"type": "str"},
    "artifact_src": {"type": "path"},
    "sha256": {"type": "str"},
    "artifact_timeout": {"type": "float", "default": 30},
    "port": {"type": "int"},
    "instance": {"type": "str", "default": ""},
    "command": {"type": "list", "elements": "str"},
    "environment": {"type": "dict", "default": {}},
    "exclusive": {"type": "bool", "default": False},
    "singletons": {"type": "dict", "default": {}},
    "singletons_stay": {"type": "float", "default": 5},
    "start_timeout": {"type": "float", "default": 60},
    "stop_timeout": {"type": "int", "default": 30},
    "keep_releases": {"type": "int", "default": 5},
    "keep_hot": {"type": "str", "default": ""},
    "ask": {"type": "list", "elements": "str", "default": []},
    "version_key": {"type": "str", "default": "version", "no_log": False},
    "runtime": {"type": "str", "choices": list(RUNTIMES), "default": "supervisor"},
    "docker_image": {"type": "str", "default": ""},
    "docker_compose": {"type": "str", "default": ""},
    "docker_archive": {"type": "str", "default": ""},
    "docker_address": {"type": "str", "default": "127.0.0.1"},
    "supervisor_config": {"type": "path", "default": "/etc/supervisor/supervisord.conf"},
}
REQUIRED_IF = [
    ("state", "fenced", ["token"]),
    ("state", "present", ["slot", "version", "sha256", "port", "command"]),
    ("state", "installed", ["version", "sha256"]),
    ("state", "started", ["slot", "version", "port", "command"]),
    ("state", "stopped", ["slot"]),
    ("state", "absent", ["slot"]),
    ("state", "verified", ["slot", "version"]),
    ("state", "retired", ["slot"]),
    ("state", "singletons_started", ["slot"]),
    ("state", "singletons_stopped", ["slot"]),
]

# What becomes a file name, or a line of a script or of a runtime's configuration.
RULES = {
    "app_name": APP_NAME,
    "app_root": FILE,
    "state_dir": FILE,
    "supervisor_config": FILE,
    "docker_image": IMAGE_OR_NOTHING,
    "docker_compose": INSIDE_OR_NOTHING,
    "docker_archive": INSIDE_OR_NOTHING,
    "docker_address": ADDRESS,
    "version": TAG,
    "port": PORT,
    "command": VALUE,
    "artifact_timeout": SOME_SECONDS,
    "singletons_stay": SECONDS,
    "start_timeout": SOME_SECONDS,
    "stop_timeout": whole(0, 86_400),
    "keep_releases": whole(0, 1000),
    "keep_hot": DURATION_OR_NOTHING,
    "ask": BASE_URL_WITH_PATH,
    "version_key": KEY_PATH,
}


def run(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Bring the slot to the wanted state and return the module's result."""
    refuse_unfit(params, RULES)
    app_root, runtime = Path(params["app_root"]), runtime_of(params["runtime"], params)
    result: dict[str, Any] = {"changed": False}
    if params["state"] in ("fenced", "hot"):
        with fenced(params["state_dir"], params["token"], check_mode=check_mode):
            result = {"changed": _keep_hot(params, runtime, check_mode=check_mode)}
    elif params["state"] == "installed":
        with fenced(params["state_dir"], params["token"], check_mode=check_mode):
            result = {"changed": _install(Releases(app_root), params, check_mode=check_mode)}
    elif params["state"] != "gathered":
        with fenced(params["state_dir"], params["token"], check_mode=check_mode):
            result = _change(app_slots.Slot(_spec(params), runtime), params, check_mode=check_mode)
    gathered = app_slots.gather(params["app_name"], app_root, runtime)
    for slot, one in gathered["slots"].items():
        one.update(retirement.retires(Path(params["state_dir"]), slot, time.time()))
    return {
        **result,
        **gathered,
        "newest_token": newest_token(params["state_dir"]),
        "schema_changes": migration_log.changes(Path(params["state_dir"])),
    }


def _install(releases: Releases, params: dict[str, Any], *, check_mode: bool) -> bool:
    source, sha256, timeout = params["artifact"] or "", params["sha256"], params["artifact_timeout"]
    return releases.install(params["version"], source=source, sha256=sha256, timeout=timeout, check_mode=check_mode)


def _keep_hot(params: dict[str, Any], runtime: Runtime, *, check_mode: bool) -> bool:
    return retirement.cancel(params["app_name"], runtime, state_dir=Path(params["state_dir"]), check_mode=check_mode)


def _retire_later(slot: app_slots.Slot, params: dict[str, Any], *, check_mode: bool) -> bool:
    """Have the other slot retired after its time, if it runs."""
    idle, seconds = slot.beside(), seconds_of(params["keep_hot"])
    seen = idle.observe()
    if not seconds or not seen["current"]:
        return _keep_hot(params, slot.runtime, check_mode=check_mode)
    wanted = retirement.Retirement(
        app_name=params["app_name"],
        slot=idle.spec.slot,
        version=seen["version"],
        live_version=params["version"],
        seconds=seconds,
        unit=idle.unit,
        ask=params["ask"],
        version_key=params["version_key"],
    )
    kept = {"state_dir": Path(params["state_dir"]), "token": params["token"], "check_mode": check_mode}
    return retirement.arrange(wanted, slot.runtime, **kept)


def _retire(slot: app_slots.Slot, params: dict[str, Any], *, check_mode: bool) -> bool:
    """Stop the slot if its time is over."""
    left = retirement.retires(Path(params["state_dir"]), slot.spec.slot, time.time())["retires_in"]
    if left is None or left > 0:
        return False
    stopped = slot.stop(check_mode=check_mode)
    return _keep_hot(params, slot.runtime, check_mode=check_mode) or stopped


def _singletons(slot: app_slots.Slot, params: dict[str, Any], *, check_mode: bool) -> bool:
    wanted = singletons_of(params["singletons"])
    if params["state"] == "singletons_stopped":
        return slot.singletons.stop_others(slot.spec.slot, wanted, check_mode=check_mode)
    return slot.start_singletons(wanted, stay_seconds=params["singletons_stay"], check_mode=check_mode)


def _change(slot: app_slots.Slot, params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    state = params["state"]
    if state == "retired":
        return {"changed": _retire(slot, params, check_mode=check_mode)}
    if state != "verified":
        # Whatever happens to a slot now: what was to happen by itself was decided before, and no longer counts.
        _keep_hot(params, slot.runtime, check_mode=check_mode)
    if state == "present":
        installed = _install(slot.releases, params, check_mode=check_mode)
        return {"changed": slot.prepare(check_mode=check_mode) or installed}
    if state == "started":
        stopped = params["exclusive"] and slot.beside().stop(check_mode=check_mode)
        started = slot.start(check_mode=check_mode)
        kept = params["exclusive"] and slot.keep(check_mode=check_mode)
        return {"changed": started or stopped or kept}
    if state in ("singletons_started", "singletons_stopped"):
        return {"changed": _singletons(slot, params, check_mode=check_mode)}
    if state == "verified":
        # Whatever became of them on the way: this slot is the one that is live.
        alone = slot.singletons.stop_all_of(slot.beside().spec.slot, check_mode=check_mode)
        marked = slot.releases.verify(params["version"], check_mode=check_mode)
        removed = slot.prune(keep=params["keep_releases"], check_mode=check_mode)
        kept = slot.keep(check_mode=check_mode)
        later = _retire_later(slot, params, check_mode=check_mode)
        return {"changed": marked or kept or later or alone or bool(removed), "removed": removed}
    stopped = slot.stop(check_mode=check_mode)
    return {"changed": (slot.remove(check_mode=check_mode) or stopped) if state == "absent" else stopped}


def _spec(params: dict[str, Any]) -> app_slots.Spec:
    return app_slots.Spec(
        app_name=params["app_name"],
        app_root=Path(params["app_root"]),
        slot=params["slot"],
        port=params["port"] or 0,
        instance=params["instance"],
        version=params["version"] or "",
        command=tuple(params["command"] or ()),
        environment={name: str(value) for name, value in params["environment"].items()},
        stop_seconds=params["stop_timeout"],
        start_seconds=params["start_timeout"],
        published=params["docker_address"].strip("[]") if params["runtime"] == "docker" else "",
    )


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        mutually_exclusive=[("artifact", "artifact_src")],
        required_if=REQUIRED_IF,
        supports_check_mode=True,
    )
    try:
        result = run(module.params, check_mode=module.check_mode)
    except BatonError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
