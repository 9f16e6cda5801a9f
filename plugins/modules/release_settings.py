#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Documentation of the action release_settings, which runs on the controller only."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_settings
short_description: Judge all settings of a release before anything is touched
version_added: "1.0.0"
author:
  - The baton.release founders (@baton-release)
description:
  - Looks at the settings of every host of the groups C(app) and C(lb), as that host sees them, and reports all problems at once,
    each with what was found, on which hosts, where it was written, what was expected and what to do.
  - Beyond the types of the roles' argument specs it knows ranges and shapes, what has to be different between slots and between
    hosts, and what has to be the same on all of them. Values are never changed to fit, so a version written as C(1.10) without
    quotes, which YAML reads as the number 1.1, is refused.
  - A variable whose name is nearly that of a setting is taken for a slip, as in C(relase_version). Other variables are left alone,
    also those that begin like ours. A variable of your own that is that near to a setting has to be called something else.
  - Refuses runs that would leave out a part of the procedure with C(--limit), C(--tags), C(--skip-tags), C(--start-at-task) or
    C(--step), and settings on the command line that are templates. For these alone nothing is resolved first.
  - Values that may be secrets are never shown.
  - Runs on the controller, once for all hosts, and asks no host. Use it with C(run_once).
extends_documentation_fragment:
  - baton.release.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  action:
    description: What is about to run.
    type: str
    choices: [release, rollback, migrate]
    default: release
  roles:
    description:
      - Roles of this collection whose settings are judged, by the argument specs of their entry points C(settings) and C(main).
        One that does not exist has none.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Check the settings
  baton.release.release_settings:
    roles: [app, release, traffic, database, secrets, slot, verify, watch, revert]
  run_once: true
"""

RETURN = r"""
hosts:
  description: How many hosts were judged.
  returned: success
  type: int
settings:
  description: How many settings are known.
  returned: success
  type: int
problems:
  description: The settings that are wrong, with the path inside of them, or the options of the command line; the message explains each.
  returned: when something is wrong
  type: list
  elements: str
  sample: [app_slots.blue.port, release_version]
"""
