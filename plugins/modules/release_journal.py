#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The history of one app in one environment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_journal
short_description: Append to, or read, the journal of the releases of one app
version_added: "1.0.0"
author:
  - The baton.release founders (@baton-release)
description:
  - The journal is an append-only file of JSON lines on the state host. It says which version was released when, by whom, from what,
    and how it ended; a rollback is allowed only to a version that the journal, or the release's own mark, calls verified.
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
    description: V(present) appends the event; V(gathered) only reads.
    type: str
    choices: [present, gathered]
    default: gathered
  event:
    description: What happened to the run of the lease O(token). Required for O(state=present). A run has each event once.
    type: str
    choices: [started, finished]
  record:
    description: What is worth knowing of the run. Required for O(state=present).
    type: dict
    suboptions:
      action:
        description: What the run does.
        type: str
        choices: [release, rollback, migrate]
      version:
        description: The version that the run brings to traffic.
        type: str
      from_version:
        description: The version that was live before.
        type: str
      slot:
        description: The slot that V(version) runs in.
        type: str
      mode:
        description: How the version comes to traffic, as the plan named it.
        type: str
      outcome:
        description:
          - V(verified) means that the version is live and was proven; V(reverted), that traffic went back; V(abandoned), that traffic never
            moved; V(unknown), that it could not be told what is live; V(failed), that the version is live but not proven;
            V(migrated), that the schema was migrated and no traffic was to move.
        type: str
        choices: [verified, reverted, abandoned, failed, unknown, migrated]
      detail:
        description: Why it ended so.
        type: str
      owner:
        description: Who ran it.
        type: str
      reason:
        description: Why it was run.
        type: str
      sha256:
        description: The artifact's SHA-256.
        type: str
      schema:
        description: The schema's revisions after the run.
        type: list
        elements: str
      applied:
        description: Revisions applied by the run.
        type: list
        elements: str
      undone:
        description: Revisions undone by the run.
        type: list
        elements: str
      contract:
        description: Revisions applied by the run that the version before does not survive.
        type: list
        elements: str
  limit:
    description: How many runs to return at the most, newest first; 0 for all.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Write down that the release has begun
  baton.release.release_journal:
    state_dir: /var/lib/baton/shop
    token: 7
    state: present
    event: started
    record:
      action: release
      version: v1.1.0
      from_version: v1.0.0
      slot: green

- name: Read the last ten runs
  baton.release.release_journal:
    state_dir: /var/lib/baton/shop
    limit: 10
  register: journal
"""

RETURN = r"""
runs:
  description: The runs, newest first, each with what its events said together. A run without an end has the outcome V(unfinished).
  returned: always
  type: list
  elements: dict
verified:
  description: The versions that a run ended with as verified, newest first, each once.
  returned: always
  type: list
  elements: str
lease:
  description: The lock, which lies beside the journal, as M(baton.release.release_lock) returns it.
  returned: always
  type: dict
"""

from ansible_collections.baton.release.plugins.module_utils.part import serve
from ansible_collections.baton.release.plugins.module_utils.part_release_journal import PART


def main() -> None:
    """Run as an Ansible module."""
    serve(PART)


if __name__ == "__main__":
    main()
