#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A slice of the watch over the traffic that a slot answers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_watch
short_description: Measure what users get from a slot, through the load balancer
version_added: "1.0.0"
author:
  - The baton.release founders (@baton-release)
description:
  - Reads the access log that the load balancer writes for its users' requests, on the balancer's host, for O(seconds)
    seconds, and sends some requests of its own through the balancer meanwhile. It fails when the answers of O(slot)
    are not as they should be.
  - A watch of any length is made of slices. Each returns a cursor and totals that the next one takes, so that no
    request is missed between them and the whole watch is judged as well as its last slice.
  - It returns at once when it is certain that the limits are breached, and changes nothing.
extends_documentation_fragment:
  - baton.release.attributes
attributes:
  check_mode:
    support: full
    details:
      - Looks at nothing, and returns the verdict V(inconclusive).
  diff_mode:
    support: none
options:
  driver:
    description: The kind of load balancer.
    type: str
    choices: [caddy, haproxy, nginx]
    default: caddy
  access_log:
    description:
      - The balancer's access log on this host. For Caddy, a file with its JSON encoder. For HAProxy, the socket of its master (or a
        stats socket, which shows only the requests of the newest worker); its ring C(requests) is the log (role haproxy). For nginx, the
        file that the role nginx has it write both requests and errors to.
    type: path
    required: true
  slot:
    description: The slot that is judged. Requests that another slot answered are counted apart.
    type: str
    choices: [blue, green]
    required: true
  seconds:
    description: How long to watch.
    type: float
    default: 15
  cursor:
    description: RV(cursor) of the previous slice. Without it, the watch begins with the next request.
    type: dict
  totals:
    description: RV(totals) of the previous slice. Without it, this slice is the first one of a watch.
    type: dict
  match:
    description:
      - Fields at the top level of a log entry, and the values that they must have for a request to count.
        With them, requests through the preview listeners are left out, for instance.
    type: dict
    default: {}
  url:
    description: Base URL of the balancer for the probes. Without it, none are sent.
    type: str
  probe_paths:
    description: Paths that the probes ask for in turn. They should be cheap and change nothing.
    type: list
    elements: str
    default: [/]
  probe_host:
    description: Host header of the probes. By default, that of O(url).
    type: str
  probe_cookie:
    description:
      - Cookie header of the probes. While O(slot) has only a share of the clients, a cookie with the number 0, such as V(baton_share=0),
        has all of them answered by O(slot).
    type: str
  probe_rate:
    description: Probes a second, at most 50. With V(0), none are sent.
    type: float
    default: 5
  probe_timeout:
    description:
      - Seconds that one probe may take. When one is still on its way at the slice's end, the slice waits for it.
    type: float
    default: 2
  max_error_rate:
    description:
      - The share of requests, from 0 to 1, that may fail.
      - It is breached when at least two requests have failed, and the lower end of the 95 % Wilson interval of the
        error rate, of the slice or of the whole watch, lies above it. So two failures of three requests are enough,
        and so are 20 of 1000 for V(0.01).
    type: float
    default: 0.01
  max_p95_ms:
    description:
      - Milliseconds that 95 % of the slice's requests may take at most.
      - Judged when the slice ends, from O(min_requests) requests on, and before that from five times as many on.
    type: float
    default: 1000
  min_requests:
    description: With fewer requests in the whole watch, the verdict is V(inconclusive), unless they failed.
    type: int
    default: 20
  compare:
    description:
      - Whether O(slot) is also judged by the other slot where both answer at the same time, at the end of the slice. Each must have
        O(min_requests) requests in it.
      - It is a breach when at least two requests have failed and the 95 % Wilson intervals of both error rates do not meet, or when O(slot)
        is slower than O(max_slowdown) allows.
    type: bool
    default: false
  max_slowdown:
    description:
      - For O(compare), how many times the 95th percentile of the other slot that of O(slot) may be. With V(0), it may be any.
      - Below a tenth of O(max_p95_ms) it may be any, too, and with less than five times O(min_requests) in either slot.
    type: float
    default: 2
  fail_on_breach:
    description: Whether a breach makes the task fail.
    type: bool
    default: true
notes:
  - A request fails when it is answered with a status of 500 or above, when the app breaks off in the middle of an
    answer, when the balancer has no slot to send it to and answers with an error itself, or when a probe gets no whole
    answer. A client that goes away does not make a request fail.
  - Caddy has to write its access log as JSON into a file, and the route of each slot has to add the field C(slot) with
    the handler C(log_append) and its C(early). Without C(early), an answer that breaks off has no such field.
  - That log should include the logger C(http.handlers.reverse_proxy) beside the access logger. Only its warnings say
    whether the app or the client broke an answer off; without them, such answers are only counted, in C(cut_off).
"""

EXAMPLES = r"""
- name: Watch the first slice
  baton.release.traffic_watch:
    access_log: /var/log/caddy/shop.log
    slot: green
    match: {entry: public}
    url: http://127.0.0.1:8080
    probe_paths: [/, /health/live]
    seconds: 30
    max_error_rate: 0.005
    max_p95_ms: 400
  register: first

- name: Watch the next slice, which begins where the first one stopped
  baton.release.traffic_watch:
    access_log: /var/log/caddy/shop.log
    slot: green
    match: {entry: public}
    url: http://127.0.0.1:8080
    seconds: 30
    max_error_rate: 0.005
    max_p95_ms: 400
    cursor: "{{ first.cursor }}"
    totals: "{{ first.totals }}"
  register: second

- name: Only measure, and let the play decide
  baton.release.traffic_watch:
    access_log: /var/log/caddy/shop.log
    slot: blue
    seconds: 60
    fail_on_breach: false
  register: measured
"""

RETURN = r"""
verdict:
  description: V(healthy), V(breach), or V(inconclusive) when there were too few requests to say.
  type: str
  returned: always, when the log was there
slice:
  description: What this slice has counted. Percentiles are exact, by nearest rank; without requests they are null.
  type: dict
  returned: always, when the log was there
  contains:
    requests:
      description: Requests that the slot answered, and failed probes.
      type: int
    errors:
      description: Those among them that failed.
      type: int
    error_rate:
      description: Their share, from 0 to 1.
      type: float
    client_aborts:
      description: Requests whose client went away. They are not among RV(slice.requests).
      type: int
    cut_off:
      description: Answers that broke off for a reason the log does not tell. They are not among RV(slice.errors).
      type: int
    p50_ms:
      description: Half of the requests took at most so many milliseconds.
      type: float
    p95_ms:
      description: 95 % of the requests took at most so many milliseconds.
      type: float
    max_ms:
      description: The slowest request, in milliseconds.
      type: float
    by_status:
      description: How many requests had which outcome.
      type: dict
      sample: {"200": 410, "502": 1, "probe timeout": 1}
    seconds:
      description: How long was watched.
      type: float
totals:
  description:
    - The same for the whole watch so far, with a histogram from which the percentiles come. Its buckets grow by 5 %,
      so they are at most 2.5 % off.
  type: dict
  returned: always, when the log was there
cursor:
  description: Where the next slice goes on.
  type: dict
  returned: always, when the log was there
gap:
  description: Whether entries may have been lost, because the log was truncated, or rotated away too early.
  type: bool
  returned: always, when the log was there
other_slots:
  description: How many requests other slots answered, how many of them failed, and their exact 95th percentile in milliseconds.
  type: dict
  returned: always, when the log was there
  sample: {blue: {requests: 3, errors: 0, p95_ms: 8.1}}
unlabelled:
  description: Requests that no slot answered, such as redirects of the balancer itself.
  type: int
  returned: always, when the log was there
probes:
  description: How many probes were sent, were answered with whatever status, and failed.
  type: dict
  returned: always, when the log was there
  sample: {sent: 75, answered: 75, failed: 0}
first_error_at:
  description: When the first failed request of this slice ended, in UTC.
  type: str
  returned: always, when the log was there
seconds:
  description: How long this slice took.
  type: float
  returned: always, when the log was there
line:
  description: The slice in one line.
  type: str
  returned: always, when the log was there
  sample: "green: 412 requests, 0 errors (0.00 %), p95 8 ms"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.rules import (
    A_DAY,
    FILE,
    ONE_LINE,
    SECONDS,
    SOME_SECONDS,
    above_zero,
    number,
    refuse_unfit,
    whole,
)
from ansible_collections.baton.release.plugins.module_utils.traffic import Limits
from ansible_collections.baton.release.plugins.module_utils.traffic_probes import Probes
from ansible_collections.baton.release.plugins.module_utils.traffic_slice import DRIVERS, watch

RULES = {
    "access_log": FILE,
    "seconds": SECONDS,
    "probe_timeout": SOME_SECONDS,
    "max_error_rate": number(0, 1),
    "max_p95_ms": above_zero(1000 * A_DAY, " of milliseconds"),
    "min_requests": whole(0, 1_000_000_000),
    "max_slowdown": number(0, 1000),
    "probe_cookie": ONE_LINE,
}
LIMITS = ("max_error_rate", "max_p95_ms", "min_requests", "max_slowdown")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "driver": {"type": "str", "choices": sorted(DRIVERS), "default": "caddy"},
            "access_log": {"type": "path", "required": True},
            "slot": {"type": "str", "choices": ["blue", "green"], "required": True},
            "seconds": {"type": "float", "default": 15.0},
            "cursor": {"type": "dict"},
            "totals": {"type": "dict"},
            "match": {"type": "dict", "default": {}},
            "url": {"type": "str"},
            "probe_paths": {"type": "list", "elements": "str", "default": ["/"]},
            "probe_host": {"type": "str"},
            "probe_cookie": {"type": "str"},
            "probe_rate": {"type": "float", "default": 5.0},
            "probe_timeout": {"type": "float", "default": 2.0},
            "max_error_rate": {"type": "float", "default": 0.01},
            "max_p95_ms": {"type": "float", "default": 1000.0},
            "min_requests": {"type": "int", "default": 20},
            "compare": {"type": "bool", "default": False},
            "max_slowdown": {"type": "float", "default": 2.0},
            "fail_on_breach": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        refuse_unfit(options, RULES)
        result = watch(
            driver=options["driver"],
            access_log=options["access_log"],
            match=options["match"],
            cursor=options["cursor"],
            totals=options["totals"],
            probes=Probes(
                url=options["url"],
                paths=options["probe_paths"],
                rate=options["probe_rate"],
                timeout=options["probe_timeout"],
                host=options["probe_host"],
                cookie=options["probe_cookie"],
            ),
            slot=options["slot"],
            limits=Limits(*(options[name] for name in LIMITS)),
            compared=options["compare"],
            seconds=options["seconds"],
            fail_on_breach=options["fail_on_breach"],
            check_mode=module.check_mode,
        )
    except BatonError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
