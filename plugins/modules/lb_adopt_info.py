#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a load balancer that is configured already needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lb_adopt_info
short_description: Say what an existing HAProxy or nginx needs, and change nothing
version_added: "1.0.0"
author:
  - The baton.release founders (@baton-release)
description:
  - Runs on the load balancer's host, and looks at the load balancer that runs there and at its files. It reports what
    M(baton.release.lb_switch) needs of it, what is there, and what is missing, with the lines to add and where.
  - What is needed is O(configuration), as the role haproxy or nginx renders it. The playbook C(adopt.yml) gives it, and all else, from the
    inventory.
  - Nothing is written, and no program is started but C(haproxy -vv) or C(nginx -v). C(nginx -t) and C(nginx -T) are not, because they make
    logs and directories that are missing.
  - Where the load balancer has the app's listeners already, O(health_path) is asked once through each and once through O(url), and looked
    for in its record of requests. These requests count in its statistics.
extends_documentation_fragment:
  - baton.release.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  driver:
    description: Which load balancer it is.
    type: str
    choices: [haproxy, nginx]
    required: true
  app_name:
    description: Name of the app in the load balancer's configuration.
    type: str
    required: true
  state_dir:
    description: Directory in which M(baton.release.lb_switch) keeps what is live.
    type: path
    required: true
  admin:
    description: Where the load balancer itself is asked, as O(baton.release.lb_switch#module:admin) has it.
    type: str
    required: true
  url:
    description: URL under which users reach the app through this load balancer, as seen from its host.
    type: str
    required: true
  health_path:
    description: Path that a server answers with 200 when it can serve.
    type: str
    default: /health/ready
  listen:
    description: The addresses of the app's listeners, as C(host:port) or C(:port).
    type: dict
    required: true
    suboptions:
      public:
        description: The one that looks up what is live.
        type: str
        required: true
      blue:
        description: The one that always leads to blue.
        type: str
        required: true
      green:
        description: The one that always leads to green.
        type: str
        required: true
      admin:
        description: The one that nginx has for O(admin).
        type: str
  configuration:
    description: What the role of the load balancer writes for this app.
    type: str
    required: true
  config_path:
    description:
      - For V(nginx) the file that is to hold O(configuration).
      - For V(haproxy) the file that is compared where it cannot be seen which ones HAProxy was started with.
    type: path
    required: true
  main_config:
    description: For V(nginx) the file that it is started with.
    type: path
    default: /etc/nginx/nginx.conf
  files:
    description: Other files that the configuration names, path to content.
    type: dict
    default: {}
  access_log:
    description: For V(nginx) the file of its requests.
    type: str
    default: ""
  entry:
    description: For V(nginx) the lines for the server block that takes users' requests.
    type: str
    default: ""
  command:
    description: The program, which says its version and what it was built with. By default it is called as O(driver) is.
    type: str
notes:
  - A HAProxy may have more lines in the sections of the app than the role writes, but none that overrules one of these. Sections of others
    are not judged.
  - Servers, names, maps and rings are those of the worker of HAProxy that runs. What a running HAProxy does not say, such as its timeouts,
    is read in the files that it was started with.
seealso:
  - module: baton.release.lb_switch
"""

EXAMPLES = r"""
# The playbook does this for every load balancer of an inventory: ansible-playbook baton.release.adopt -i inventories/prod
- name: Look
  baton.release.lb_adopt_info:
    driver: haproxy
    app_name: shop
    state_dir: /var/lib/baton/shop
    admin: /run/haproxy-master.sock
    url: http://127.0.0.1:80
    listen: {public: "127.0.0.1:8080", blue: "127.0.0.1:8081", green: "127.0.0.1:8082"}
    configuration: "{{ lookup('ansible.builtin.file', 'rendered/haproxy.cfg') }}"
    config_path: /etc/haproxy/haproxy.cfg
  register: look

- name: Show it
  ansible.builtin.debug:
    msg: "{{ look.report }}"
"""

RETURN = r"""
findings:
  description:
    - What is needed, one by one.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What it is about.
      returned: always
      type: str
    state:
      description:
        - V(ok), V(missing), V(unknown) for what could not be asked because of something else that is missing, or V(advice) for what is
          not needed.
      returned: always
      type: str
    found:
      description: What is there.
      returned: always
      type: str
    expected:
      description: What is needed; empty where it is there.
      returned: always
      type: str
    fix:
      description: What to do; empty where there is nothing to do.
      returned: always
      type: str
    edits:
      description:
        - Changes of files as they are now. At line C(at) of C(path) one takes C(take) lines away, and puts C(lines) there; C(where) says
          the same in words.
        - Make them from the last line of a file to its first.
      returned: always
      type: list
      elements: dict
  sample:
    - name: global
      state: missing
      found: the section global does not load how requests wait
      expected: the line below
      fix: add it, check the files, and reload HAProxy
      edits:
        - path: /etc/haproxy/haproxy.cfg
          at: 2
          take: 0
          lines: ["    lua-load-per-thread /var/lib/baton/shop/haproxy.hold.lua"]
          where: after line 1 (section global)
missing:
  description:
    - The names of the findings that are V(missing) or V(unknown). Without any, M(baton.release.lb_switch) can switch this load balancer.
  returned: success
  type: list
  elements: str
  sample: [global]
report:
  description: All findings with their edits, as a person reads them.
  returned: success
  type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baton.release.plugins.module_utils.adopt import CHECKS, MISSING, UNKNOWN, Wanted, as_text
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.rules import (
    ADMIN,
    APP_NAME,
    BASE_URL,
    FILE,
    URL_PATH,
    VALUE,
    Rule,
    refuse_unfit,
)
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "driver": {"type": "str", "choices": sorted(CHECKS), "required": True},
    "app_name": {"type": "str", "required": True},
    "state_dir": {"type": "path", "required": True},
    "admin": {"type": "str", "required": True},
    "url": {"type": "str", "required": True},
    "health_path": {"type": "str", "default": "/health/ready"},
    "listen": {
        "type": "dict",
        "required": True,
        "options": {
            **{name: {"type": "str", "required": True} for name in ("public", *SLOTS)},
            "admin": {"type": "str"},
        },
    },
    "configuration": {"type": "str", "required": True},
    "config_path": {"type": "path", "required": True},
    "main_config": {"type": "path", "default": "/etc/nginx/nginx.conf"},
    "files": {"type": "dict", "default": {}},
    "access_log": {"type": "str", "default": ""},
    "entry": {"type": "str", "default": ""},
    "command": {"type": "str"},
}
RULES = {
    "app_name": APP_NAME,
    "admin": ADMIN,
    "url": BASE_URL,
    "health_path": URL_PATH,
    "files": Rule(
        lambda files: all(FILE.holds(path) and VALUE.holds(content) for path, content in files.items()),
        "for each file its absolute path, and its content as text",
    ),
}
PATHS = ("state_dir", "config_path", "main_config")


def run(params: dict[str, Any]) -> dict[str, Any]:
    """Look, and return the module's result."""
    refuse_unfit(params, RULES)
    given = {name: Path(value) if name in PATHS else value for name, value in params.items() if name != "driver"}
    listen = {name: address for name, address in params["listen"].items() if address}
    command = params["command"] or params["driver"]
    findings = CHECKS[params["driver"]](Wanted(**{**given, "listen": listen, "command": command}))
    return {
        "changed": False,
        "findings": [one.as_result() for one in findings],
        "missing": [one.name for one in findings if one.state in (MISSING, UNKNOWN)],
        "report": as_text(findings),
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params)
    except BatonError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
