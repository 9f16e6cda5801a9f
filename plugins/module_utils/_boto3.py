# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The one place that imports the optional library boto3: its floor, what to install, and what the refusals of AWS mean."""

from __future__ import annotations

import contextlib
import re
import sys
import typing

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.settings_types import masked

try:
    import boto3
    from botocore import exceptions
    from botocore.config import Config
    from botocore.parsers import ResponseParserError
except ImportError as import_error:
    _MISSING = str(import_error)
else:
    _MISSING = ""

__all__ = ["SilentError", "ask", "client_of", "listed"]

_FLOOR = (1, 28)  # older ones do not know AWS_ENDPOINT_URL and would ask the real AWS instead
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 5, 10, 4
_LONGEST_MESSAGE = 300
_CREDENTIALS = re.compile(
    r"AuthFailure|ExpiredToken|IncompleteSignature|InvalidClientToken|InvalidAccessKey|InvalidToken|MissingAuthentication"
    r"|RequestExpired|SignatureDoesNotMatch|UnrecognizedClient"
)
_DENIED = re.compile(r"AccessDenied|NotAuthorized|UnauthorizedOperation|OptInRequired")
_BUSY = re.compile(r"Throttl|TooManyRequests|RequestLimitExceeded|ServiceUnavailable|InternalFailure|InternalError")
_FIRST_SERVER_ERROR = 500


class SilentError(BatonError):
    """AWS has not answered, or only that it cannot answer now; whether it has done what it was asked for is not known."""


def client_of(service: str, *, region: str) -> typing.Any:
    """Return a client that is configured by nothing but what boto3 finds on this host: credentials, proxies, endpoints.

    Raises:
        BatonError: boto3 is missing or too old, or what it finds cannot be used.
    """
    _require()
    # The retries of this mode are few and wait longer each time, also for what throttles.
    retries = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
    timeouts = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS}
    try:
        return boto3.Session().client(service, region_name=region, config=Config(retries=retries, **timeouts))
    except (exceptions.BotoCoreError, ValueError) as error:
        raise BatonError(
            found=f"boto3 cannot use what it finds on this host: {_shown(error)}",
            expected="a sound configuration of it (~/.aws of the user that the task runs as, and the variables AWS_*)",
            fix="correct it there; nothing was changed",
        ) from error


def ask(client: typing.Any, operation: str, **parameters: typing.Any) -> dict[str, typing.Any]:
    """Return what AWS answers to one operation, such as ``modify_rule``.

    Raises:
        SilentError: it has not answered, or cannot now.
        BatonError: it refuses, or there are no credentials.
    """
    with _understood(client.meta.method_to_api_mapping[operation]):
        return dict(getattr(client, operation)(**parameters))


def listed(client: typing.Any, operation: str, key: str, **parameters: typing.Any) -> list[dict[str, typing.Any]]:
    """Return what is listed under ``key`` on all pages of an operation such as ``describe_rules``.

    Raises:
        SilentError: it has not answered, or cannot now.
        BatonError: it refuses, or there are no credentials.
    """
    with _understood(client.meta.method_to_api_mapping[operation]):
        return [one for page in client.get_paginator(operation).paginate(**parameters) for one in page.get(key, ())]


@contextlib.contextmanager
def _understood(action: str) -> typing.Iterator[None]:
    """Turn what botocore raises into what a person understands."""
    try:
        yield
    except exceptions.ClientError as error:
        raise _refusal(action, error.response) from error
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
        raise SilentError(
            found=f"AWS does not answer {action}: {_shown(error)}",
            expected="an answer",
            fix="look whether this host reaches the endpoint of elasticloadbalancing (network, proxy, AWS_ENDPOINT_URL), then run again",
        ) from error
    # A whole page of HTML has botocore's parser look for what is not there.
    except (ResponseParserError, LookupError) as error:
        raise SilentError(
            found=f"what answers {action} is not AWS, or answers half",
            expected="an answer in XML, as AWS gives it",
            fix="look what answers in its place (a proxy, AWS_ENDPOINT_URL), then run again",
        ) from error
    except exceptions.BotoCoreError as error:
        raise _no_credentials(action, _shown(error)) from error


def _refusal(action: str, response: typing.Mapping[str, typing.Any]) -> BatonError:
    told = response.get("Error", {})
    code, status = str(told.get("Code", "")), int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    # What AWS says of a wrong signature repeats the request that was signed, with the session's token in it.
    if _CREDENTIALS.search(code):
        return _no_credentials(action, code)
    said = f"{code}: {_shown(told.get('Message', ''))}"
    if _DENIED.search(code):
        return BatonError(
            found=f"AWS does not allow {action} ({said})",
            expected=f"the right elasticloadbalancing:{action} for the role or user of this host",
            fix="add it to the policy; nothing was changed by this call",
        )
    if _BUSY.search(code) or status >= _FIRST_SERVER_ERROR:
        return SilentError(
            found=f"AWS cannot answer {action} now, after {_ATTEMPTS} attempts ({said})",
            expected="an answer",
            fix="wait for a minute, and run again",
        )
    return BatonError(
        found=f"AWS refuses {action} ({said})",
        expected="a listener or rule, and target groups, that it knows and can use together",
        fix="correct traffic_admin or traffic_target_groups, or mend them in AWS; nothing was changed by this call",
    )


def _no_credentials(action: str, said: str) -> BatonError:
    return BatonError(
        found=f"boto3 gets no answer to {action} with what it finds on this host ({said})",
        expected="credentials that AWS takes: of the instance's role, in variables AWS_*, or in ~/.aws of the user that the task runs as",
        fix="give them to this host; they are no settings of this collection",
    )


def _shown(said: object) -> str:
    return masked(" ".join(str(said).split()))[:_LONGEST_MESSAGE]


def _require() -> None:
    if _MISSING:
        raise BatonError(
            found=f"no Python package boto3 for {sys.executable} ({_MISSING})",
            expected=f"boto3 >= {'.'.join(map(str, _FLOOR))} on the host that runs lb_switch with the driver aws_alb",
            fix=f"install it there ({sys.executable} -m pip install boto3), or set ansible_python_interpreter to a Python that has it",
        )
    version = tuple(int(part) for part in boto3.__version__.split(".")[:2])
    if version < _FLOOR:
        raise BatonError(
            found=f"boto3 {boto3.__version__}",
            expected=f"boto3 >= {'.'.join(map(str, _FLOOR))}",
            fix=f"upgrade it ({sys.executable} -m pip install --upgrade boto3)",
        )
