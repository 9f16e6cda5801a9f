#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The slot that a load balancer serves, and whom it lets in."""

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
    a restart of the load balancer. An Application Load Balancer of AWS (driver V(aws_alb), a preview) is told by one call instead.
  - It also opens and closes the door (O(state=open), O(state=held), O(state=maintenance)), which stands before whatever is live, and puts
    single servers into another state (O(state=servers)). These are absolute, fenced and kept in the same way.
extends_documentation_fragment:
  - baton.release.attributes
  - baton.release.fence
requirements:
  - boto3 >= 1.28, for O(driver=aws_alb)
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  state:
    description:
      - V(live) makes O(slot) live.
      - V(prepared) makes the files that a load balancer looks up and that are missing, with a seat for each host of O(servers). Traffic is
        not touched.
      - V(fenced) makes the host refuse older leases from now on, and returns what is live under that fence. Traffic is not touched.
      - V(gathered) only reads.
      - V(maintenance) answers users with 503, the maintenance page and C(Retry-After), until V(open). The page is the one that the load
        balancer's role was given (C(traffic_maintenance_page)).
      - V(held) has users' requests wait instead, for up to O(hold_limit) seconds each, until V(open) lets them go on to what is live then.
        One that has waited for so long gets the maintenance page. A request that waits is lost when the load balancer itself ends.
      - V(open) lets users in. Whatever the door is, the health paths and the previews are answered, and the live slot can be switched.
      - V(servers) puts servers of O(slot) into other states, as O(server_states) says. Only with the driver V(haproxy).
    type: str
    choices: [live, prepared, fenced, gathered, open, held, maintenance, servers]
    default: live
  driver:
    description:
      - Which load balancer it is.
      - V(aws_alb) is a preview, and not fenced in AWS; see the notes.
    type: str
    choices: [aws_alb, caddy, haproxy, nginx]
    default: caddy
  app_name:
    description: Name of the app in the load balancer's configuration.
    type: str
    required: true
  slot:
    description:
      - The slot to make live, or whose servers are meant. Required for O(state=live) and O(state=servers).
      - V(mixed) lets each app host's own slot decide, its seat, as O(seats) says; this is how a rolling update goes.
    type: str
    choices: [blue, green, mixed]
  share:
    description:
      - Per cent of the clients that reach O(slot), for O(state=live). Below 100 the slot that is live stays live for the others, so it
        has to be the other one.
      - V(0) takes back what the slot had of them; so does the live slot as O(slot). Either way, and with V(100), all clients move at one
        instant.
      - While there is a share, the load balancer gives each client a number from 0 to 99 in a session cookie (HttpOnly, SameSite=Lax; roles
        haproxy, nginx and caddy), and those below the share reach O(slot). So a client stays where it is, and nobody moves back while the
        share grows. A client that keeps no cookies draws a number at each request. On several load balancers the same number means the
        same.
      - Like the live slot, it changes without a reload, and survives reloads and restarts.
      - With V(aws_alb) the load balancer draws a slot for each new client by the weights of the target groups, and holds it there for an
        hour (group stickiness). So clients that have a slot keep it while the share grows, and fewer than the share have moved. Which slot
        is live, the weights say too - they add up to 700 while V(blue) is and to 900 while V(green) is.
    type: int
    default: 100
  seats:
    description:
      - For O(slot=mixed) the app hosts whose seat changes, each with V(blue), V(green) or V(out); every other host keeps what it has.
      - The share of a host that is V(out) goes to the others.
    type: dict
    default: {}
  expected:
    description:
      - The slot that must be live now (V(none) before the first release), for O(state=live), O(state=fenced) and O(state=gathered).
      - Without it the load balancer is taken from whatever it has, which is what going back needs.
    type: str
    choices: [blue, green, mixed, none]
  min_up:
    description:
      - How many of the servers that get traffic then the load balancer itself must report up before it is switched; with a share, in
        each of the two slots.
      - A server that is new among the seats must be up in any case.
      - With O(state=servers) it is how many must be left up of those that get traffic.
      - V(0) asks nothing, for an emergency in which the other slot is certain to be worse.
    type: int
    default: 1
  wait:
    description: Seconds to wait for them.
    type: float
    default: 15
  drain:
    description:
      - Seconds to wait until no request is left at the servers that get no more of them, with O(state=live) and O(state=servers), or at any
        server, with O(state=held) and O(state=maintenance). WebSockets and downloads are waited for too.
      - What is left then is not cut, but named in RV(draining).
    type: float
    default: 0
  hold_limit:
    description: For O(state=held) the seconds that a request waits at most, from 1 to 600. Many clients give up earlier on their own.
    type: int
    default: 30
  retry_after:
    description: For O(state=held) and O(state=maintenance) what C(Retry-After) says with the maintenance page, in seconds.
    type: int
    default: 60
  server_states:
    description:
      - For O(state=servers) the hosts whose server in O(slot) changes, each with V(ready), V(drain) or V(maint); every other one keeps
        what it has. They are HAProxy's own states, and hold for the seat of a rolling update too.
      - A server in V(drain) gets no more requests and is still asked for its health; one in V(maint) is not asked either.
      - One that is to be V(ready) again must first answer O(health_path) with 200, unless O(min_up=0).
    type: dict
    default: {}
  reasons:
    description:
      - For O(state=servers) why hosts are excluded that O(server_states) puts into V(maint), host to reason. It is kept beside the
        state, and RV(excluded) tells it.
      - It also says whose business it is to bring them back. A server in maintenance with a reason is brought back by the next release that
        does not exclude its host any more (C(release_excluded_hosts)), once the host has proven its version. One without is left to whoever
        put it there, and no release is made meanwhile.
    type: dict
    default: {}
  servers:
    description: For O(state=prepared) the address of the server that a host's seat leads to at first, host to address.
    type: dict
  admin:
    description:
      - Where the load balancer itself is asked, on its host. For V(caddy) the URL of its admin endpoint, by default
        C(http://127.0.0.1:2019).
      - For V(haproxy) the path of the socket of its master, by default C(/run/haproxy-master.sock). A stats socket of level admin will
        do, but leads to the newest worker alone, and the module warns.
      - For V(nginx) the URL of the listener that the role nginx configures for this, by default C(http://127.0.0.1:8083). nginx itself does
        not say which servers are up and what is in flight. Up is what answers O(health_path) when it is asked from nginx's host, and in
        flight are nginx's connections, as C(/proc) lists them.
      - For V(aws_alb) the ARN of a listener, whose default action is changed then, or of one of its rules. It says the region, too.
    type: str
  target_groups:
    description:
      - For V(aws_alb) the target group of each slot, by name or ARN. Not used by other drivers.
      - The listener or rule must forward to no others. Before the first release it forwards to both with weight 0.
    type: dict
    suboptions:
      blue:
        description: Of the slot blue.
        type: str
      green:
        description: Of the slot green.
        type: str
  preview:
    description: For each slot the URL of the load balancer's listener that always leads to that slot.
    type: dict
    required: true
  health_path:
    description: Path that a server answers with 200 when it can serve.
    type: str
    default: /health/ready
notes:
  - The driver V(aws_alb) runs on any host that reaches AWS, such as a bastion or the controller itself, and keeps O(state_dir) there.
    Leases fence it among the runs on that host, and only there. AWS itself knows no lease and cannot compare and swap, so between reading
    and writing, a fraction of a second, a change that somebody else makes can be overwritten. The module warns of that at each switch.
  - It is tested over HTTP against the simulation of AWS in moto, which has no traffic. How soon an Application Load Balancer follows a
    change, and that it loses no request meanwhile, was not measured. The module waits until AWS shows the new weights.
  - It needs the rights C(DescribeListeners), C(DescribeRules), C(DescribeTargetGroups), C(DescribeTargetHealth), C(ModifyListener) and
    C(ModifyRule) of C(elasticloadbalancing). Credentials, proxies and the endpoint are what boto3 finds there, never options.
  - Only the forward action is changed. What comes before it, such as a login, stays, and so do conditions, certificates and targets. Target
    groups may have no target stickiness of their own, because AWS takes that only with group stickiness, which is off without a share.
  - AWS checks the health of a target group only while a listener or rule has it, which the listeners of O(preview) see to. What is in
    flight at a target, AWS does not say.
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

- name: Do that at an Application Load Balancer of AWS
  baton.release.lb_switch:
    driver: aws_alb
    app_name: shop
    state_dir: /var/lib/baton/shop
    admin: arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/shop/50dc6c495c0c9188/f2f7dc8efc522ab2
    target_groups: {blue: shop-blue, green: shop-green}
    preview: {blue: "http://shop.internal:8081", green: "http://shop.internal:8082"}
    slot: green
    expected: blue
    min_up: 3
    token: "{{ lock.lease.token }}"

- name: Have every twentieth client reach green, while blue stays live for the others
  baton.release.lb_switch:
    app_name: shop
    state_dir: /var/lib/baton/shop
    preview: {blue: "http://127.0.0.1:8081", green: "http://127.0.0.1:8082"}
    slot: green
    share: 5
    expected: blue
    min_up: 3
    token: "{{ lock.lease.token }}"

- name: Have app1 alone answer from green, and the others from what they have
  baton.release.lb_switch:
    app_name: shop
    state_dir: /var/lib/baton/shop
    preview: {blue: "http://127.0.0.1:8081", green: "http://127.0.0.1:8082"}
    slot: mixed
    seats: {app1: green}
    min_up: 3
    token: "{{ lock.lease.token }}"

- name: Hold users' requests while the database moves, and wait until those in flight have ended
  baton.release.lb_switch:
    state: held
    driver: haproxy
    app_name: shop
    state_dir: /var/lib/baton/shop
    preview: {blue: "http://127.0.0.1:8081", green: "http://127.0.0.1:8082"}
    hold_limit: 20
    drain: 10
    token: "{{ lock.lease.token }}"

- name: Let them go on
  baton.release.lb_switch:
    state: open
    driver: haproxy
    app_name: shop
    state_dir: /var/lib/baton/shop
    preview: {blue: "http://127.0.0.1:8081", green: "http://127.0.0.1:8082"}
    token: "{{ lock.lease.token }}"

- name: Take app1 out, for work on that host
  baton.release.lb_switch:
    state: servers
    driver: haproxy
    app_name: shop
    state_dir: /var/lib/baton/shop
    preview: {blue: "http://127.0.0.1:8081", green: "http://127.0.0.1:8082"}
    slot: blue
    server_states: {app1: drain}
    min_up: 2
    drain: 30
"""

RETURN = r"""
live:
  description: The slot that traffic reaches now, V(mixed) while each host's own slot decides, V(none) before the first release.
  returned: except with O(state=prepared)
  type: str
share:
  description: Per cent of the clients that reach the slot that is not live.
  returned: except with O(state=prepared)
  type: int
previous:
  description: The slot that the last switch came from, or V(none) when that is not known.
  returned: except with O(state=prepared)
  type: str
newest_token:
  description: The newest lease that this host has seen.
  returned: except with O(state=prepared)
  type: int
answering:
  description: Whether the load balancer itself answered.
  returned: except with O(state=prepared)
  type: bool
pools:
  description:
    - For each slot the servers of its pool with their hosts, those that the load balancer holds to be up, and the requests in flight.
    - For V(nginx) on a host that does not show its processes, and for V(aws_alb), the requests in flight are empty, which means unknown.
    - The hosts are missing where the load balancer is not configured for rolling updates.
  returned: except with O(state=prepared)
  type: dict
  sample:
    blue:
      servers: ["10.0.0.1:8001", "10.0.0.2:8001"]
      hosts: [app1, app2]
      up: ["10.0.0.1:8001", "10.0.0.2:8001"]
      in_flight: {"10.0.0.1:8001": 3, "10.0.0.2:8001": 0}
seats:
  description: For each app host the slot that its share of the requests reaches, or V(out).
  returned: except with O(state=prepared)
  type: dict
  sample: {app1: green, app2: blue}
draining:
  description: The servers that still had requests when O(drain) was over, with their number if it is known.
  returned: with O(state=live) and where O(drain) is waited for
  type: dict
door:
  description:
    - Whether users are let in.
  returned: except with O(state=prepared)
  type: dict
  contains:
    state:
      description: One of V(open), V(held) (requests wait) and V(maintenance) (users get the page).
      returned: always
      type: str
    hold_limit:
      description: For how many seconds a request waits at most; 0 unless it is held.
      returned: always
      type: int
    retry_after:
      description: After how many seconds the page asks clients to come again; 0 while the door is open.
      returned: always
      type: int
    unsettled:
      description:
        - What is other after a restart, or at a worker that is older than a reload, because whoever changed it last did not get to its end.
        - The same command again mends that. Empty where there is no such difference.
      returned: always
      type: str
  sample: {state: maintenance, hold_limit: 0, retry_after: 60, unsettled: ""}
server_states:
  description: For each slot the state of each host's server. Empty where the driver has no such states, or nobody answers.
  returned: except with O(state=prepared)
  type: dict
  sample:
    blue: {app1: drain, app2: ready}
    green: {app1: ready, app2: ready}
excluded:
  description: For each slot the hosts whose server is in maintenance because a release has excluded them, with the reason.
  returned: except with O(state=prepared)
  type: dict
  sample:
    blue: {app1: "its disk is broken"}
    green: {app1: "its disk is broken"}
"""

from ansible_collections.baton.release.plugins.module_utils.part import serve
from ansible_collections.baton.release.plugins.module_utils.part_lb_switch import PART


def main() -> None:
    """Run as an Ansible module."""
    serve(PART)


if __name__ == "__main__":
    main()
