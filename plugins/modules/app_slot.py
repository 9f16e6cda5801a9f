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

from ansible_collections.baton.release.plugins.module_utils.part import serve
from ansible_collections.baton.release.plugins.module_utils.part_app_slot import PART


def main() -> None:
    """Run as an Ansible module."""
    serve(PART)


if __name__ == "__main__":
    main()
