# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Settings that are sound each by itself, but not together: on one host, between hosts, and with the groups of the inventory."""

from __future__ import annotations

import re
import typing
from urllib.parse import urlsplit

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.rollout import Rollout
from ansible_collections.baton.release.plugins.module_utils.settings_aws_alb import complaints_of_aws_alb
from ansible_collections.baton.release.plugins.module_utils.settings_docker import complaints_of_docker
from ansible_collections.baton.release.plugins.module_utils.settings_excluded import complaints_of_excluded, taking_part
from ansible_collections.baton.release.plugins.module_utils.settings_singletons import complaints_of_singletons
from ansible_collections.baton.release.plugins.module_utils.settings_types import Complaint, number_of, truth_of

__all__ = ["complaints_between"]

Groups = typing.Mapping[str, typing.Sequence[str]]
Values = typing.Mapping[str, typing.Any]
Settings = typing.Mapping[str, Values]
Found = typing.Iterator[tuple[Complaint, tuple[str, ...]]]
Socket = tuple[str, int]

_HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ASKED_BY_URL = {"caddy": "Caddy's admin endpoint", "nginx": "nginx's listener for lb_switch"}
_VERIFY_INTERVAL = 0.05  # seconds, as the role verify asks


def complaints_between(groups: Groups, settings: Settings) -> list[tuple[Complaint, tuple[str, ...]]]:
    """Return what does not go together, each with the hosts that it is about.

    Args:
        groups: the groups of the inventory.
        settings: for each host of app and lb the settings that are sound by themselves.
    """
    found = list(_groups(groups, settings))
    for host, values in settings.items():
        found += [
            (one, (host,))
            for one in (
                *_proofs(values),
                *_strategy(groups, values),
                *complaints_of_excluded(groups, values),
                *_steps(values),
                *(complaints_of_singletons(groups, values) if host in groups.get("app", ()) else ()),
                *_secrets(values),
                *_database(values),
                *_admin(values),
                *complaints_of_aws_alb(values),
                *(complaints_of_docker(values) if host in groups.get("app", ()) else ()),
                *_preview(values),
            )
        ]
    return [*_merged(found), *_sockets(groups, settings), *_machines(settings)]


def _merged(found: typing.Iterable[tuple[Complaint, tuple[str, ...]]]) -> Found:
    hosts: dict[Complaint, tuple[str, ...]] = {}
    for complaint, on in found:
        hosts[complaint] = hosts.get(complaint, ()) + on
    yield from hosts.items()


def _groups(groups: Groups, settings: Settings) -> Found:
    for name, what in (("app", "the hosts that the app runs on"), ("lb", "the load balancers")):
        if not groups.get(name):
            yield Complaint(f"group {name}", "no hosts", f"at least one host: {what}", "correct the inventory"), ()
    members = {*groups.get("app", ()), *groups.get("lb", ())}
    for host in sorted(one for one in members if not _HOST_NAME.fullmatch(one)):
        expected = "letters, digits and . _ -, because files are named after it"
        yield Complaint("inventory", f"the host name {host[:80]!r}", expected, "rename the host"), ()
    for name, among, why in (
        ("release_state_host", members, "a host of the groups app and lb, because it takes part in the run"),
        (
            "plan_migrator",
            set(groups.get("app", ())),
            "a host of the group app, because it migrates from the release staged there",
        ),
    ):
        for value in sorted({str(one[name]) for one in settings.values() if name in one and _migrates(name, one)}):
            if value not in among:
                fix = "correct the group migrator" if name == "plan_migrator" else "correct it"
                yield Complaint(name, repr(value[:80]), why, fix), ()


def _migrates(name: str, values: Values) -> bool:
    return name != "plan_migrator" or truth_of(values.get("database_migrate")) is not False


def _numbers(values: Values, *names: str) -> list[float] | None:
    numbers = [found for name in names if (found := number_of(values.get(name))) is not None]
    return numbers if len(numbers) == len(names) else None


def _proofs(values: Values) -> typing.Iterator[Complaint]:
    """Complain of deadlines before which not even a healthy server could have proven itself."""
    health = _numbers(
        values, "app_health_min_seconds", "app_health_consecutive", "app_health_interval", "app_health_deadline"
    )
    if health and max(health[0], (health[1] - 1) * health[2]) >= health[3]:
        needed = max(health[0], (health[1] - 1) * health[2])
        expected = f"more than the {needed:g} s that app_health_min_seconds, app_health_consecutive and app_health_interval need"
        yield Complaint("app_health_deadline", f"{health[3]:g}", expected, "raise it")
    verify = _numbers(values, "verify_consecutive", "verify_deadline")
    if verify and (verify[0] - 1) * _VERIFY_INTERVAL >= verify[1]:
        yield Complaint(
            "verify_deadline",
            f"{verify[1]:g}",
            f"more than the {(verify[0] - 1) * _VERIFY_INTERVAL:g} s that verify_consecutive needs",
            "raise it",
        )
    for name in ("watch_seconds", "watch_step_seconds"):
        watch = _numbers(values, name, "watch_slice_seconds")
        if watch and watch[0] / watch[1] > 10_000:  # noqa: PLR2004 - one task each
            yield Complaint(
                "watch_slice_seconds",
                f"{watch[1]:g}",
                f"at least {watch[0] / 10_000:g}, for at most 10,000 slices of {name}",
                "raise it",
            )


def _strategy(groups: Groups, values: Values) -> typing.Iterator[Complaint]:
    surge, unavailable = (values.get(name) for name in ("release_max_surge", "release_max_unavailable"))
    if values.get("release_strategy") != "rolling" or surge is None or unavailable is None:
        return
    try:
        Rollout("rolling", str(surge), str(unavailable)).size(len(taking_part(groups, values)))
    except BatonError as error:
        yield Complaint("release_max_surge", error.found, error.expected, error.fix)


def _steps(values: Values) -> typing.Iterator[Complaint]:
    """Complain of steps that would not be made, or without a gate between them."""
    steps = values.get("traffic_steps")
    if not isinstance(steps, (list, tuple)) or not steps:
        return
    numbers = [number_of(one) or 0 for one in steps]
    if any(later <= earlier for earlier, later in zip(numbers, numbers[1:])):
        expected = "per cents of which each is larger than the one before, such as [5, 25, 50]"
        yield Complaint("traffic_steps", _listed(steps), expected, "put them in order")
    if values.get("release_strategy") == "rolling":
        expected = "none with release_strategy rolling, whose batches are its steps"
        yield Complaint(
            "traffic_steps", _listed(steps), expected, "set traffic_steps: [], or release_strategy: blue_green"
        )
    name = "watch_step_seconds" if "watch_step_seconds" in values else "watch_seconds"
    if number_of(values.get(name)) == 0:
        expected = "more than 0, because the watch is the gate between the traffic_steps"
        yield Complaint(name, "0", expected, "set watch_step_seconds, or traffic_steps: []")


def _listed(numbers: typing.Sequence[object]) -> str:
    return f"[{', '.join(map(str, numbers))}]"[:80]


def _secrets(values: Values) -> typing.Iterator[Complaint]:
    if values.get("secrets_store") == "file" and values.get("secrets_items") and not values.get("secrets_path", True):
        yield Complaint("secrets_path", "nothing", "the file with the secrets, for secrets_store file", "set it")


_OF_ONE_DRIVER = {
    "database_commands": "command",
    "database_dbmate_directory": "dbmate",
    "database_dbmate_program": "dbmate",
    "database_django_database": "django",
    "database_django_manage": "django",
    "database_flyway_program": "flyway",
    "database_knex_file": "knex",
    "database_knex_node": "knex",
    "database_liquibase_changelog": "liquibase",
    "database_liquibase_program": "liquibase",
    "database_sqitch_program": "sqitch",
    "database_sqitch_registry": "sqitch",
}


def _database(values: Values) -> typing.Iterator[Complaint]:
    driver = values.get("database_driver")
    if driver is None or truth_of(values.get("database_migrate")) is False:
        return
    for name, its in _OF_ONE_DRIVER.items():
        if values.get(name) and driver != its:
            yield Complaint(
                name,
                f"a value, for database_driver {driver}",
                f"it only for {its}",
                "remove it, or correct database_driver",
            )
    commands = values.get("database_commands")
    if driver == "command" and isinstance(commands, dict):
        for name in ("status", "up"):
            if not commands.get(name):
                expected = "a command of the app, for database_driver command"
                yield Complaint(f"database_commands.{name}", "nothing", expected, "set it")


def _admin(values: Values) -> typing.Iterator[Complaint]:
    driver, admin = values.get("traffic_driver"), str(values.get("traffic_admin", ""))
    if driver == "haproxy" and admin and not admin.startswith("/"):
        yield Complaint(
            "traffic_admin", f"{admin:.80}", "the path of HAProxy's socket, for traffic_driver haproxy", "correct it"
        )
    elif driver in _ASKED_BY_URL and admin.startswith(("/", "arn:")):
        expected = f"the URL of {_ASKED_BY_URL[driver]}, for traffic_driver {driver}"
        yield Complaint("traffic_admin", f"{admin:.80}", expected, "correct it")


def _preview(values: Values) -> typing.Iterator[Complaint]:
    preview = values.get("traffic_preview")
    if not isinstance(preview, dict):
        return
    named = {f"traffic_preview.{slot}": url for slot, url in preview.items()}
    for name in ("traffic_url", "traffic_admin"):
        if name in values:
            named[name] = values[name]
    seen: dict[Socket, str] = {}
    for name, url in named.items():
        other = seen.setdefault(_socket(str(url)), name)
        if other != name:
            expected = f"an address of its own: {other} has the same"
            yield Complaint(name, f"{url!s:.80}", expected, "give each listener of the load balancer its own port")


def _socket(url: str) -> Socket:
    parts = urlsplit(url)
    return (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def _sockets(groups: Groups, settings: Settings) -> Found:
    """Complain of ports that two servers share: of one host, or of two hosts behind one address."""
    seen: dict[Socket, str] = {}
    for host in groups.get("app", ()):
        values = settings.get(host, {})
        slots = values.get("app_slots")
        if not isinstance(slots, dict):
            continue
        for slot, one in slots.items():
            port = number_of(one.get("port"))
            if port is None:
                continue
            name = f"app_slots.{slot}.port"
            own = f"{name} of {host}"
            other = seen.setdefault((str(values.get("app_address", host)).lower(), int(port)), own)
            if other != own:
                expected = f"a port of its own: {other} has the same"
                yield Complaint(name, f"{int(port)}", expected, "give every slot its own port"), (host,)
        yield from _sockets_of_balancer(groups, host, values, slots)


def _sockets_of_balancer(groups: Groups, host: str, values: Values, slots: typing.Mapping[str, typing.Any]) -> Found:
    """A host may be both app host and load balancer, as long as their ports stay apart; those of aws_alb are not on this host."""
    if host not in groups.get("lb", ()) or values.get("traffic_driver") == "aws_alb":
        return
    urls = {"traffic_url": values.get("traffic_url"), "traffic_admin": values.get("traffic_admin")}
    preview = values.get("traffic_preview")
    if isinstance(preview, dict):
        urls.update({f"traffic_preview.{slot}": url for slot, url in preview.items()})
    ports = {_socket(str(url))[1]: name for name, url in urls.items() if url}
    for slot, one in slots.items():
        port = number_of(one.get("port"))
        if port is not None and int(port) in ports:
            expected = f"another port than {ports[int(port)]}, because {host} is in both groups, app and lb"
            yield Complaint(f"app_slots.{slot}.port", f"{int(port)}", expected, "give the app other ports"), (host,)


def _machines(settings: Settings) -> Found:
    """Complain of one machine under two names, whose slots and state would be one."""
    for name, what in (("app_root", "slots"), ("release_state_dir", "state")):
        seen: dict[tuple[str, str, str], str] = {}
        for host, values in settings.items():
            if name not in values:
                continue
            local = values.get("ansible_connection") == "local"
            machine = "this machine" if local else str(values.get("ansible_host", host))
            other = seen.setdefault((machine, str(values.get("ansible_port", "")), str(values[name])), host)
            if other != host:
                expected = f"a directory of its own: {other} is the same machine and has the same"
                yield (
                    Complaint(
                        name,
                        f"{values[name]!s:.80}",
                        expected,
                        f"keep their {what} apart, or remove one of the two names",
                    ),
                    (host,),
                )
