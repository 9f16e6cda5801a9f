#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Deliver secrets from a store into one env file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_fetch
version_added: "1.0.0"
short_description: Deliver secrets from a store into one env file
description:
  - Reads secrets from a store and lets one env file on the managed host hold exactly these, with mode V(0600).
  - The store is read on the controller, where the operator or the CI system has put the secrets, unless
    O(remote_src=true).
  - A secret that is missing is an error that names all missing ones, before anything is written anywhere.
  - The file reads the same, byte for byte, in a POSIX shell (C(set -a; . file)) and as C(EnvironmentFile=) of systemd.
  - Values appear neither in results and diffs nor in output, however verbose.
  - The file is replaced in one step, and a missing directory is made with mode V(0700).
extends_documentation_fragment:
  - baton.release.attributes
  - baton.release.fence
attributes:
  check_mode:
    support: full
    details: Reads the store and compares, so a missing secret is found without a release.
  diff_mode:
    support: partial
    details: Shows which names come (C(+)), go (C(-)) or get another value (C(~)), never a value.
options:
  state_dir:
    description:
      - Directory on the managed host in which the collection keeps what it knows of this application.
      - Without it the file is written without asking the fence. O(token) needs it.
    type: path
    required: false
  store:
    description:
      - V(env) reads environment variables, V(file) the file O(path).
    type: str
    choices: [env, file]
    required: true
  secrets:
    description:
      - Name of each variable in the env file, and its key in the store.
      - The keys are shown in errors, so a value never belongs here.
    type: dict
    required: true
  dest:
    description:
      - Absolute path of the env file.
      - A symbolic link or anything else that is not a regular file is refused.
    type: path
    required: true
  path:
    description:
      - The file to read for O(store=file), a JSON object whose values are texts, or an env file.
      - It is taken for JSON when its name ends with C(.json) or its text starts with a brace.
      - It must belong to the user who reads it, or to root, and nobody else may have access (C(chmod 600)).
      - On the controller, a relative path starts at the directory of the playbook.
    type: path
  remote_src:
    description:
      - Read the store on the managed host instead of the controller.
      - For O(store=env) this is the environment in which the module runs. Do not fill it with the keyword
        C(environment), which shows what it holds in process lists and logs.
    type: bool
    default: false
  values:
    description: The secrets, handed over by the action plugin of this module. It is refused in a task.
    type: dict
notes:
  - With pipelining a value touches no disk on the managed host but that of O(dest). Without it Ansible's own temporary
    file, which only the remote user can read, holds the values while the module runs, and stays if the run is killed or
    C(ANSIBLE_KEEP_REMOTE_FILES) is set.
seealso:
  - module: baton.release.app_slot
author:
  - The baton.release founders (@baton-release)
"""

EXAMPLES = r"""
- name: Deliver the secrets that the CI system has put into its environment
  baton.release.secret_fetch:
    store: env
    secrets:
      DATABASE_URL: SHOP_DATABASE_URL
      JWT_SECRET: SHOP_JWT_SECRET
    dest: /etc/baton/shop/secrets.env

- name: Deliver the secrets that are kept on each host
  baton.release.secret_fetch:
    store: file
    path: /root/shop.json
    remote_src: true
    secrets:
      DATABASE_URL: database_url
    dest: /etc/baton/shop/secrets.env
    state_dir: /var/lib/baton/shop
    token: "{{ release_token }}"
"""

RETURN = r"""
dest:
  description: Path of the env file.
  returned: success
  type: str
  sample: /etc/baton/shop/secrets.env
names:
  description: Names of the delivered variables.
  returned: success
  type: list
  elements: str
  sample: [DATABASE_URL, JWT_SECRET]
missing:
  description: Names of the secrets that the store lacks.
  returned: when some are missing
  type: list
  elements: str
  sample: [JWT_SECRET]
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baton.release.plugins.module_utils import envfile
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.fence import FENCE_OPTIONS, fenced
from ansible_collections.baton.release.plugins.module_utils.rules import FILE, PATH, refuse_unfit
from ansible_collections.baton.release.plugins.module_utils.secret_stores import STORES, fetch

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    **FENCE_OPTIONS,
    "state_dir": {"type": "path"},
    "store": {"type": "str", "choices": list(STORES), "required": True},
    "secrets": {"type": "dict", "required": True, "no_log": False},
    "dest": {"type": "path", "required": True},
    "path": {"type": "path"},
    "remote_src": {"type": "bool", "default": False},
    "values": {"type": "dict", "no_log": True},
}
CONSTRAINTS: dict[str, Any] = {
    "required_if": [("store", "file", ["path"])],
    "required_by": {"token": ["state_dir"]},
}

RULES = {"state_dir": FILE, "dest": FILE, "path": PATH}


def run(params: dict[str, Any], values: dict[str, str] | None, *, check_mode: bool) -> dict[str, Any]:
    """Deliver ``values``, or without them what the store on this host has, and return the module's result."""
    refuse_unfit(params, RULES)
    if values is None:
        values = fetch(params["secrets"], store=params["store"], path=params["path"], host="the managed host")
    directory = params["state_dir"]
    fence = fenced(directory, params["token"], check_mode=check_mode) if directory else contextlib.nullcontext()
    with fence:
        return envfile.deliver(values, params["dest"], check_mode=check_mode)


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True, **CONSTRAINTS)
    # Taken out, because every result repeats the options.
    values = module.params.pop("values")
    # What the task says in the open is not masked: a value such as `1` or `prod` would eat its part of dest and names.
    shown = str(module.params)
    module.no_log_values = {value for value in module.no_log_values if value not in shown}
    try:
        result = run(module.params, values, check_mode=module.check_mode)
    except BatonError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
