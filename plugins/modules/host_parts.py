#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What several modules do, in one start of Python on each host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_parts
short_description: Run on each host the modules that are for its part, all in one task
version_added: "1.0.0"
author:
  - The baton.release founders (@baton-release)
description:
  - Has the load balancers, the app hosts and the state host asked at the same time, each for what is its part. With a task for each module
    all hosts would wait for those that take part in it, and a host with several parts would start Python for each.
  - The modules named here are parts of this one on the hosts also when they are called by their own names, so that Ansible packs what they
    are made of once in a run, and not once for each of them.
  - A part without options is left out. A host with several parts does them in the order of the options below.
  - What a part comes to is returned under its name, and judged by what comes later. The task itself does not fail, neither for a part that
    fails nor for a host that does not answer, because only all answers together tell what that means. It does fail for a part that there
    is not.
extends_documentation_fragment:
  - baton.release.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  lb_switch:
    description: Options of M(baton.release.lb_switch).
    type: dict
    default: {}
  app_slot:
    description: Options of M(baton.release.app_slot), but for the artifact, which this module does not bring along.
    type: dict
    default: {}
  health_wait:
    description: Options of M(baton.release.health_wait).
    type: dict
    default: {}
  release_journal:
    description: Options of M(baton.release.release_journal).
    type: dict
    default: {}
  release_lock:
    description:
      - Options of M(baton.release.release_lock). Whether a holder of the lease is dead is found out by that module alone.
    type: dict
    default: {}
seealso:
  - module: baton.release.lb_switch
  - module: baton.release.app_slot
  - module: baton.release.health_wait
  - module: baton.release.release_journal
  - module: baton.release.release_lock
"""

EXAMPLES = r"""
- name: See what the load balancers serve and what the app hosts hold
  baton.release.host_parts:
    lb_switch: "{{ balancer if inventory_hostname in groups['lb'] else {} }}"
    app_slot: "{{ app_host if inventory_hostname in groups['app'] else {} }}"
  vars:
    balancer: {state: gathered, app_name: shop, state_dir: /var/lib/baton/shop, preview: {blue: "http://lb1:8081", green: "http://lb1:8082"}}
    app_host: {state: gathered, app_name: shop, state_dir: /var/lib/baton/shop, app_root: /srv/shop}
  register: seen
"""

RETURN = r"""
lb_switch:
  description: What M(baton.release.lb_switch) returned, or RV(ignore:unreachable) and RV(ignore:msg) where the host did not answer.
  returned: where it was given options
  type: dict
app_slot:
  description: The same of M(baton.release.app_slot).
  returned: where it was given options
  type: dict
health_wait:
  description: The same of M(baton.release.health_wait).
  returned: where it was given options
  type: dict
release_journal:
  description: The same of M(baton.release.release_journal).
  returned: where it was given options
  type: dict
release_lock:
  description: The same of M(baton.release.release_lock).
  returned: where it was given options
  type: dict
"""

from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baton.release.plugins.module_utils.part import Part, do


def _lb_switch() -> Part:
    from ansible_collections.baton.release.plugins.module_utils.part_lb_switch import PART  # noqa: PLC0415  # see PARTS

    return PART


def _app_slot() -> Part:
    from ansible_collections.baton.release.plugins.module_utils.part_app_slot import PART  # noqa: PLC0415  # see PARTS

    return PART


def _health_wait() -> Part:
    from ansible_collections.baton.release.plugins.module_utils.part_health_wait import PART  # noqa: PLC0415  # see PARTS

    return PART


def _release_journal() -> Part:
    from ansible_collections.baton.release.plugins.module_utils.part_release_journal import PART  # noqa: PLC0415  # see PARTS

    return PART


def _release_lock() -> Part:
    from ansible_collections.baton.release.plugins.module_utils.part_release_lock import PART  # noqa: PLC0415  # see PARTS

    return PART


PARTS: dict[str, Callable[[], Part]] = {
    "lb_switch": _lb_switch,
    "app_slot": _app_slot,
    "health_wait": _health_wait,
    "release_journal": _release_journal,
    "release_lock": _release_lock,
}
"""How to load each part: Ansible has a host compile whatever is imported, so each imports no more than it does."""
# What is secret in the options is known when the part is loaded. Until then all of it is, and the host's log is told nothing of them.
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {name: {"type": "dict", "default": {}, "no_log": True} for name in PARTS}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    module.no_log_values = set()
    said = {name: do(load(), module.params[name], module) for name, load in PARTS.items() if module.params[name]}
    module.exit_json(changed=any(one.get("changed", False) for one in said.values()), **said)


if __name__ == "__main__":
    main()
