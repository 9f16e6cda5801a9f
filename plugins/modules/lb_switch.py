#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The slot that a load balancer serves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lb_switch
short_description: Switch a load balancer to the other slot, without a reload
version_added: "1.0.0"
author:
  - The baton.release founders (@baton-release)
description:
  - Runs on the load balancer's host and changes which slot of an app its traffic reaches.
  - The change is a compare-and-swap under a lock on that host. It is refused when another slot is live than the expected one, or
    when the host has seen a newer lease; of two writers that expect the same, one wins.
  - The load balancer looks the live slot up at every request, so nothing is reloaded, no request is lost, and the choice survives
    a restart of the load balancer.
extends_documentation_fragment:
  - baton.release.attributes
  - baton.release.fence
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  state:
    description:
      - V(live) makes O(slot) live.
      - V(fenced) makes the host refuse older leases from now on, and returns what is live under that fence. Traffic is not touched.
      - V(gathered) only reads.
    type: str
    choices: [live, fenced, gathered]
    default: live
  driver:
    description: Which load balancer it is.
    type: str
    choices: [caddy]
    default: caddy
  app_name:
    description: Name of the app in the load balancer's configuration.
    type: str
    required: true
  slot:
    description: The slot to make live. Required for O(state=live).
    type: str
    choices: [blue, green]
  expected:
    description:
      - The slot that must be live now (V(none) before the first release), for O(state=live).
      - Without it the load balancer is taken from whatever it has, which is what going back needs.
    type: str
    choices: [blue, green, none]
  min_up:
    description:
      - How many servers of the pool the load balancer itself must report up before it is switched.
      - V(0) asks nothing, for an emergency in which the other slot is certain to be worse.
    type: int
    default: 1
  wait:
    description: Seconds to wait for them.
    type: float
    default: 15
  admin:
    description: URL of Caddy's admin endpoint.
    type: str
    default: http://127.0.0.1:2019
  preview:
    description: For each slot the URL of the load balancer's listener that always leads to that slot.
    type: dict
    required: true
  health_path:
    description: Path that a server answers with 200 when it can serve.
    type: str
    default: /health/ready
"""

EXAMPLES = r"""
- name: See what is live
  baton.release.lb_switch:
    state: gathered
    app_name: shop
    state_dir: /var/lib/baton/shop
    preview: {blue: "http://127.0.0.1:8081", green: "http://127.0.0.1:8082"}
  register: balancer

- name: Move traffic from blue to green, once all three servers are up
  baton.release.lb_switch:
    app_name: shop
    state_dir: /var/lib/baton/shop
    preview: {blue: "http://127.0.0.1:8081", green: "http://127.0.0.1:8082"}
    slot: green
    expected: blue
    min_up: 3
    token: "{{ lock.lease.token }}"
"""

RETURN = r"""
live:
  description: The slot that traffic reaches now, V(none) before the first release.
  returned: always
  type: str
previous:
  description: The slot that the last switch came from, or V(none) when that is not known.
  returned: always
  type: str
newest_token:
  description: The newest lease that this host has seen.
  returned: always
  type: int
answering:
  description: Whether the load balancer itself answered.
  returned: always
  type: bool
pools:
  description: For each slot the servers of its pool, those that the load balancer holds to be up, and the requests in flight.
  returned: always
  type: dict
  sample:
    blue:
      servers: ["10.0.0.1:8001", "10.0.0.2:8001"]
      up: ["10.0.0.1:8001", "10.0.0.2:8001"]
      in_flight: 3
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baton.release.plugins.module_utils.balancer_caddy import Caddy
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.fence import FENCE_OPTIONS, fenced
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS
from ansible_collections.baton.release.plugins.module_utils.switch import NOTHING_LIVE, Wanted, observe, switch

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    **FENCE_OPTIONS,
    "state": {"type": "str", "choices": ["live", "fenced", "gathered"], "default": "live"},
    "driver": {"type": "str", "choices": ["caddy"], "default": "caddy"},
    "app_name": {"type": "str", "required": True},
    "slot": {"type": "str", "choices": list(SLOTS)},
    "expected": {"type": "str", "choices": [*SLOTS, NOTHING_LIVE]},
    "min_up": {"type": "int", "default": 1},
    "wait": {"type": "float", "default": 15},
    "admin": {"type": "str", "default": "http://127.0.0.1:2019"},
    "preview": {"type": "dict", "required": True},
    "health_path": {"type": "str", "default": "/health/ready"},
}


def run(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Switch, fence or read, and return the module's result."""
    directory, token = params["state_dir"], params["token"]
    if sorted(params["preview"]) != sorted(SLOTS) or params["min_up"] < 0 or params["wait"] < 0:
        raise BatonError(
            found=f"preview for {sorted(params['preview'])}, min_up {params['min_up']}, wait {params['wait']:g}",
            expected=f"a preview URL for each of {', '.join(SLOTS)}; min_up and wait of at least 0",
            fix="correct traffic_preview, traffic_min_available or traffic_wait",
        )
    balancer = Caddy(params["admin"], params["app_name"], params["preview"], params["health_path"])
    if params["state"] == "gathered":
        return {"changed": False, **observe(balancer, directory)}
    if params["state"] == "fenced":
        with fenced(directory, token, check_mode=check_mode):
            return {"changed": False, **observe(balancer, directory)}
    wanted = Wanted(params["slot"], params["expected"], params["min_up"], params["wait"])
    return switch(balancer, wanted, state_dir=directory, token=token, check_mode=check_mode)


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        required_if=[("state", "live", ["slot"]), ("state", "fenced", ["token"])],
        supports_check_mode=True,
    )
    try:
        result = run(module.params, check_mode=module.check_mode)
    except BatonError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
