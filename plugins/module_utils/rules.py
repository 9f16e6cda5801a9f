# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Rules for values that become file names, paths, ports, addresses, seconds or words of a command; each says what it expects."""

from __future__ import annotations

import re
import typing
from urllib.parse import urlsplit

from ansible_collections.baton.release.plugins.module_utils.durations import DURATION
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.settings_types import number_of, shown
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS

__all__ = [
    "ADDRESS",
    "ADMIN",
    "APP_NAME",
    "ARTIFACT",
    "A_DAY",
    "A_WEEK",
    "BASE_URL",
    "BASE_URL_WITH_PATH",
    "COOKIE",
    "COUNT_OR_SHARE",
    "DURATION_OR_NOTHING",
    "FILE",
    "FILE_OR_NOTHING",
    "IMAGE_OR_NOTHING",
    "INSIDE",
    "INSIDE_OR_NOTHING",
    "KEY_PATH",
    "LISTENER_OR_RULE",
    "LOCK_TIME",
    "ONE_LINE",
    "PATH",
    "PORT",
    "REASON",
    "RETRIES",
    "REVISION_OR_NOTHING",
    "SECONDS",
    "SHA256_OR_NOTHING",
    "SINGLETON",
    "SOME_SECONDS",
    "STOP_SECONDS",
    "STORE_KEY",
    "TAG",
    "TAG_OR_NOTHING",
    "TARGET_GROUP",
    "TARGET_GROUP_OR_NOTHING",
    "URL_PATH",
    "USER",
    "USER_OR_NOTHING",
    "VALUE",
    "VARIABLE",
    "VARIABLE_OR_NOTHING",
    "Rule",
    "above_zero",
    "number",
    "refuse_unfit",
    "whole",
]

A_DAY = 86_400
A_WEEK = 7 * A_DAY
_LONGEST_PATH = 1024  # bytes; the system allows 4096, and names are appended
_LONGEST_LINE = 200  # characters
_LONGEST_NAME = 200  # bytes, of 255: temporary files have longer names
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_COUNT_OR_SHARE = re.compile(r"0|[1-9][0-9]{0,3}|(100|[1-9]?[0-9])%")
_ALB = r"arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]{1,30}:[0-9]{12}"
_AWS_NAME = r"[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
_SINGLETON = re.compile(r"[a-z](?:[a-z0-9_-]{0,28}[a-z0-9])?")
_IMAGE = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}(?::[0-9]{1,5})?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+){0,40}"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")


class Rule(typing.NamedTuple):
    """Whether a value ``holds``, and in words what is ``expected`` and how to ``fix`` it."""

    holds: typing.Callable[[typing.Any], bool]
    expected: str
    fix: str = "correct it"


def whole(low: int, high: int, unit: str = "") -> Rule:
    """Return the rule for a whole number in a range."""
    return Rule(lambda value: _within(value, low, high), f"a whole number{unit} from {low} to {high}")


def number(low: float, high: float, unit: str = "") -> Rule:
    """Return the rule for a number in a range, both ends in it."""
    return Rule(lambda value: _within(value, low, high), f"a number{unit} from {low:g} to {high:g}")


def above_zero(high: float, unit: str = " of seconds") -> Rule:
    """Return the rule for a number that is not 0."""
    return Rule(
        lambda value: _within(value, 0, high) and number_of(value) != 0, f"a number{unit} above 0, at most {high:g}"
    )


def text(holds: typing.Callable[[str], bool], expected: str, fix: str = "correct it") -> Rule:
    """Return the rule for text."""
    return Rule(lambda value: isinstance(value, str) and holds(value), expected, fix)


def like(pattern: str, expected: str, fix: str = "correct it") -> Rule:
    """Return the rule for text of which a pattern matches the whole."""
    compiled = re.compile(pattern)
    return text(lambda value: bool(compiled.fullmatch(value)), expected, fix)


def or_nothing(rule: Rule) -> Rule:
    """Return the rule for text that may also be empty."""
    return Rule(lambda value: value == "" or rule.holds(value), f"{rule.expected}, or nothing", rule.fix)


def is_tag(value: str) -> bool:
    """Say whether ``value`` may be the version of a release: a file name, an argument and an environment variable take it as it is."""
    return bool(_TAG.fullmatch(value)) and value != "latest"


def _within(value: object, low: float, high: float) -> bool:
    found = number_of(value)
    return found is not None and low <= found <= high


def _one_line(value: str) -> bool:
    return value.isprintable()


def _is_path(value: str) -> bool:
    parts = value.split("/")
    sizes = [len(part.encode(errors="replace")) for part in parts]
    short = sum(sizes) + len(sizes) <= _LONGEST_PATH and max(sizes) <= _LONGEST_NAME
    return value.startswith("/") and short and _one_line(value) and not {".", ".."} & set(parts)


def _is_path_inside(value: str) -> bool:
    return bool(value) and not value.startswith("/") and _one_line(value) and ".." not in value.split("/")


def _is_url_path(value: str) -> bool:
    plain = value.isascii() and value.isprintable()
    return plain and value.startswith("/") and not re.search(r"[\s#\\\"<>{}]", value) and ".." not in value.split("/")


def _is_url(value: str) -> bool:
    if not (value.isascii() and value.isprintable()) or re.search(r"[\s\\\"'<>{}|^`]", value):
        return False
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return parts.scheme in ("http", "https") and bool(_HOST.fullmatch(host)) and "@" not in parts.netloc and port != 0


def _is_base_url(value: str) -> bool:
    return _is_url(value) and not value.endswith("/") and not re.search(r"[?#]", value)


def _is_artifact_url(value: str) -> bool:
    if value == "":
        return True
    if "://" not in value:
        return _is_path(value)
    if value.startswith("file://"):
        return _is_path(value[len("file://") :])
    return _is_url(value.replace("{version}", "v1"))


def _is_address(value: str) -> bool:
    return bool(_HOST.fullmatch(value))


def _is_image_or_nothing(value: str) -> bool:
    name = value.replace("{version}", "v1").replace("{slot}", "blue")
    return value == "" or (
        bool(_IMAGE.fullmatch(name))
        and ("{version}" in value.rpartition("/")[2].partition(":")[2] or "@sha256:" in name)
    )


def _is_singleton(value: str) -> bool:
    # Its unit may not have the name that a slot of another app would have.
    return bool(_SINGLETON.fullmatch(value)) and value.rpartition("-")[2] not in SLOTS


def _is_value(value: str) -> bool:
    # Surrogates stand for bytes that were no UTF-8; no file and no environment takes them.
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_count_or_share(value: object) -> bool:
    written = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return isinstance(written, str) and bool(_COUNT_OR_SHARE.fullmatch(written))


SECONDS = number(0, A_DAY, " of seconds")
SOME_SECONDS = above_zero(A_DAY)
FILE = text(_is_path, "an absolute path on one line, without . and .. in it")
URL_PATH = text(_is_url_path, "a path that starts with /, such as /health/ready")
BASE_URL = text(
    _is_base_url,
    "http:// or https:// with a host, without a user and without / at its end, such as http://127.0.0.1:8080",
)
BASE_URL_WITH_PATH = text(_is_url, "http:// or https:// with a host, without a user")
DURATION_OR_NOTHING = like(
    rf"({DURATION})?", "a whole number with its unit (s, m, h or d), such as 90s, 30m or 1h, or nothing for ever"
)
LISTENER_OR_RULE = like(
    rf"{_ALB}:listener(/app/{_AWS_NAME}(/[0-9a-z]+){{2}}|-rule/app/{_AWS_NAME}(/[0-9a-z]+){{3}})",
    "the ARN of a listener or a listener rule of an Application Load Balancer",
)
TARGET_GROUP = like(rf"{_AWS_NAME}|{_ALB}:targetgroup/{_AWS_NAME}/[0-9a-z]+", "the name or the ARN of a target group")
ADMIN = text(
    lambda value: _is_base_url(value) or _is_path(value) or LISTENER_OR_RULE.holds(value),
    f"{BASE_URL.expected}; or for haproxy the path of a socket, or for aws_alb {LISTENER_OR_RULE.expected}",
)
PORT = whole(1, 65_535)
RETRIES = whole(0, 100)
ONE_LINE = text(
    lambda value: _one_line(value) and len(value) <= _LONGEST_LINE, f"one line of at most {_LONGEST_LINE} characters"
)
REASON = text(
    lambda value: ONE_LINE.holds(value) and bool(value.strip()),
    f"the reason, one line of at most {_LONGEST_LINE} characters",
    "say why the host is left out",
)
VALUE = text(_is_value, "text in Unicode without NUL")
VARIABLE = like(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable: letters, digits and _, no digit first")
TAG_OR_NOTHING = text(
    lambda value: value == "" or is_tag(value),
    "the name of a tag, such as v1.2.0: letters, digits and . _ + -, at most 64 of them, and never latest",
    "name the tag",
)
COOKIE = like(r"[A-Za-z][A-Za-z0-9_]{0,63}", "the name of a cookie: letters, digits and _, a letter first")
COUNT_OR_SHARE = Rule(_is_count_or_share, "a count of hosts such as 1, or a share of them such as 25%")
TAG = text(is_tag, TAG_OR_NOTHING.expected, TAG_OR_NOTHING.fix)
APP_NAME = like(
    r"[a-z0-9]([a-z0-9_.-]{0,38}[a-z0-9])?", "a name like shop: small letters, digits and _ . -, at most 40"
)
ADDRESS = text(_is_address, "a host name or an IP address, without a port")
ARTIFACT = text(_is_artifact_url, "a path, or a file, http or https URL without a user; {version} stands for the tag")
IMAGE_OR_NOTHING = text(
    _is_image_or_nothing,
    "an image with {version} in its tag, such as registry.example.com/shop:{version}, or with a digest, or nothing",
    "name one that is the same for ever",
)
INSIDE = text(_is_path_inside, "a path inside of the release, without .. in it; . for the release itself")
KEY_PATH = like(r"[^.\s]+(\.[^.\s]+)*", "keys joined by single dots")
LOCK_TIME = like(r"0|[1-9][0-9]{0,8}(ms|s|min)", "a time with its unit, such as 5s or 500ms")
PATH = like(r"[^\x00\r\n\ud800-\udfff]*", "a path on one line")
SHA256_OR_NOTHING = like(r"([0-9a-fA-F]{64})?", "64 hexadecimal digits", "copy it from the build's manifest")
USER = like(r"[a-z_][a-z0-9_-]{0,31}\$?", "the name of a user of the system, such as shop")
FILE_OR_NOTHING = or_nothing(FILE)
INSIDE_OR_NOTHING = or_nothing(INSIDE)
VARIABLE_OR_NOTHING = or_nothing(VARIABLE)
USER_OR_NOTHING = or_nothing(USER)
TARGET_GROUP_OR_NOTHING = or_nothing(TARGET_GROUP)
REVISION_OR_NOTHING = like(
    r"(-1|[A-Za-z0-9_@][A-Za-z0-9_.:+@/-]{0,199})?", "the full identifier of a migration, base or -1"
)
SINGLETON = text(
    _is_singleton,
    "a name like mail-worker: small letters, digits and - _, a letter first, at most 30, and not blue or green after a -",
)
STOP_SECONDS = whole(0, A_DAY, " of seconds")
STORE_KEY = like(r"[^\x00\r\n]+", "the name of a secret in the store")


def refuse_unfit(params: typing.Mapping[str, typing.Any], rules: typing.Mapping[str, Rule]) -> None:
    """Refuse options of a module that break their rule; an option without a value breaks none.

    Raises:
        BatonError: with the first one that does.
    """
    for option, rule in rules.items():
        value = params[option]
        wrong = [one for one in (value if isinstance(value, (list, tuple)) else [value]) if not rule.holds(one)]
        if value is not None and wrong:
            raise BatonError(
                found=f"{option}: {shown(option, wrong[0])}",
                expected=rule.expected,
                fix=f"correct {option}; nothing was touched",
            )
