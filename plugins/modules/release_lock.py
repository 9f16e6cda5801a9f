#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The lock of one app in one environment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_lock
short_description: Hold the leased lock of one app in one environment
version_added: "1.0.0"
author:
  - The baton.release founders (@baton-release)
description:
  - Takes, renews or gives back the lease under which one run may change one app in one environment.
  - A lease runs out when it is not renewed, so a dead controller cannot block the next release for ever.
  - Each lease has a token that only grows. The modules that change something carry it, and a host that has seen a newer one refuses.
  - Runs partly on the controller. When the holder was a process of the same controller, and that process is provably gone,
    the lease is taken over at once.
extends_documentation_fragment:
  - baton.release.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  state_dir:
    description: Directory on the state host in which the collection keeps what it knows of this application.
    type: path
    required: true
  state:
    description:
      - V(held) takes the lease; it is an error that says who holds it, since when and why, if somebody else does.
      - V(renewed) extends the lease O(token).
      - V(released) gives the lease O(token) back.
      - V(gathered) only reads.
    type: str
    choices: [held, renewed, released, gathered]
    default: held
  token:
    description: The lease that this run holds. Required for O(state=renewed) and O(state=released).
    type: int
  expected_token:
    description:
      - The newest token when the plan was made. If another lease was taken since, the lock is refused, because the plan is out of date.
    type: int
  owner:
    description: Who takes the lease, for people. By default the user and the controller's name.
    type: str
    default: ""
  reason:
    description: What the lease is taken for, for people.
    type: str
    default: unspecified
  ttl:
    description: Seconds after which a lease that was not renewed may be taken by anybody.
    type: int
    default: 300
  wait:
    description: Seconds to wait for a lease that somebody else holds.
    type: int
    default: 0
  takeover_token:
    description:
      - Take the lease over from the holder of this token, although it has not run out. Only for a holder that is known to be dead.
    type: int
  newest_seen:
    description:
      - The newest token that any host of the environment has seen. The lease gets a newer one, also on a state host without memory.
    type: int
    default: 0
  controller:
    description: Identity of the process that asks. Set by the controller's part of this module.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Take the lock
  baton.release.release_lock:
    state_dir: /var/lib/baton/shop
    reason: release v1.1.0
  register: lock

- name: Still here
  baton.release.release_lock:
    state_dir: /var/lib/baton/shop
    state: renewed
    token: "{{ lock.lease.token }}"

- name: Give the lock back
  baton.release.release_lock:
    state_dir: /var/lib/baton/shop
    state: released
    token: "{{ lock.lease.token }}"
"""

RETURN = r"""
lease:
  description: The lease as it is after the module ran.
  returned: always
  type: dict
  contains:
    token:
      description: The newest token.
      type: int
    held:
      description: Whether somebody holds the lease.
      type: bool
    owner:
      description: Who holds it, or an empty string.
      type: str
    reason:
      description: What it is held for.
      type: str
    expires_at:
      description: When it runs out without a renewal, in Unix seconds of the state host.
      type: float
took_over:
  description: The lease that was taken over from a dead process, when there was one.
  returned: when a lease was taken over
  type: dict
"""

from ansible_collections.baton.release.plugins.module_utils.part import serve
from ansible_collections.baton.release.plugins.module_utils.part_release_lock import PART


def main() -> None:
    """Run as an Ansible module."""
    serve(PART)


if __name__ == "__main__":
    main()
