#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Wait until endpoints are healthy and of the intended version."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_wait
version_added: "1.0.0"
short_description: Wait until endpoints are healthy and answer with the intended version
description:
  - Asks all endpoints at the same time, again and again, and returns as soon as every one of them is healthy at once.
  - An endpoint with O(endpoints[].url) is healthy when it answers whole, with the expected status and, when
    O(expect.version) is given, with that version in its JSON body. So an old process that still holds the port is not
    taken for the new one.
  - An endpoint with O(endpoints[].tcp) is healthy when it accepts a connection.
  - Everything else that the other side may do (redirect, no JSON, half an answer, one byte a second, no answer) is an
    observation, which is returned and, at the deadline, is part of the error.
  - Redirects are not followed, and proxies from the environment are not used, because the question is what that very
    process answers.
  - Certificates of HTTPS endpoints are verified against the CA certificates of the host on which the module runs.
extends_documentation_fragment:
  - baton.release.attributes
attributes:
  check_mode:
    support: full
    details: Looks at each endpoint once, returns what is there and never fails because of it.
  diff_mode:
    support: none
    details: Nothing is ever changed.
options:
  endpoints:
    description: What is asked. Each item has either O(endpoints[].url) or O(endpoints[].tcp).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the endpoint in results and errors; no two are the same.
        type: str
        required: true
      url:
        description: Address with C(http) or C(https), asked with C(GET). It holds no user and no password.
        type: str
      tcp:
        description: Address as C(host:port).
        type: str
      headers:
        description:
          - Headers of the request to O(endpoints[].url), for example C(Host) or C(Authorization).
          - Their values are masked in what the module returns when they have eight characters or more.
        type: dict
  expect:
    description: What a healthy answer is. Applies to the endpoints with O(endpoints[].url).
    type: dict
    suboptions:
      status:
        description: HTTP status of the answer.
        type: int
        default: 200
      version:
        description:
          - Version that the answer has to report, compared as text, exactly.
          - Without it the body may be anything.
        type: str
      version_key:
        description: Key of the version in the JSON object of the body; a dot leads into a nested object.
        type: str
        default: version
  consecutive:
    description: Number of successes in a row that each endpoint needs.
    type: int
    default: 1
  min_healthy_seconds:
    description: Seconds for which each endpoint has to be healthy without a break, from one success to a later one.
    type: float
    default: 0
  deadline:
    description: Seconds after which the module gives up, whatever the endpoints do.
    type: float
    default: 60
  interval:
    description: Seconds from one look at an endpoint to the next.
    type: float
    default: 0.5
  probe_timeout:
    description: Seconds for one look, from the connection to the last byte.
    type: float
    default: 5
  max_body:
    description: Bytes of a body that are read at most. An answer with a longer one is not healthy.
    type: int
    default: 65536
  fail_on_unhealthy:
    description: Fail when an endpoint is not healthy at the deadline. With V(false) the caller decides by RV(healthy).
    type: bool
    default: true
seealso:
  - module: ansible.builtin.uri
  - module: ansible.builtin.wait_for
author:
  - The baton.release founders (@baton-release)
"""

EXAMPLES = r"""
- name: Wait until the new version is warm
  baton.release.health_wait:
    endpoints:
      - name: "{{ inventory_hostname }} green"
        url: http://127.0.0.1:8102/health/ready
    expect:
      version: v1.2.0
    consecutive: 3
    min_healthy_seconds: 5
    deadline: 120

- name: Ask the application through each load balancer
  baton.release.health_wait:
    endpoints:
      - name: lb1
        url: https://192.0.2.11/health
        headers:
          Host: shop.example.com
      - name: lb1 statistics
        tcp: 192.0.2.11:8404
    expect:
      version: v1.2.0

- name: See whether the other slot could take over
  baton.release.health_wait:
    endpoints:
      - name: blue
        url: http://127.0.0.1:8101/health/ready
    deadline: 3
    fail_on_unhealthy: false
  register: blue
"""

RETURN = r"""
healthy:
  description: Whether all endpoints were healthy at once.
  returned: once the endpoints have been looked at
  type: bool
  sample: true
waited:
  description: Whether the module waited for the endpoints; V(false) in check mode, which looks once.
  returned: once the endpoints have been looked at
  type: bool
  sample: true
seconds:
  description: How long that took.
  returned: once the endpoints have been looked at
  type: float
  sample: 2.513
endpoints:
  description: The endpoints in the order of the option.
  returned: once the endpoints have been looked at
  type: list
  elements: dict
  contains:
    name:
      description: Name of the endpoint.
      type: str
      sample: lb1
    healthy:
      description: Whether it was healthy for long enough, up to the last look.
      type: bool
      sample: true
    consecutive:
      description: Successes in a row, up to the last look.
      type: int
      sample: 3
    observation:
      description: The last look; null when the deadline came before the first one.
      type: dict
      contains:
        kind:
          description:
            - V(answered) for a whole HTTP answer, V(connected) for an accepted TCP connection.
            - Otherwise why there was none, one of V(refused), V(reset), V(timeout), V(tls), V(protocol), V(too_large),
              V(unreachable).
          type: str
          sample: answered
        status:
          description: HTTP status, if there was one.
          type: int
          sample: 200
        version:
          description: Version that the body reports, if it does.
          type: str
          sample: v1.2.0
        detail:
          description: What was seen, and for an unhealthy endpoint what was expected instead.
          type: str
          sample: answers v1.1.0, expected v1.2.0
        ms:
          description: Milliseconds that this look took.
          type: int
          sample: 4
"""

from ansible_collections.baton.release.plugins.module_utils.part import serve
from ansible_collections.baton.release.plugins.module_utils.part_health_wait import PART


def main() -> None:
    """Run as an Ansible module."""
    serve(PART)


if __name__ == "__main__":
    main()
