# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a module is made of, and how Ansible runs it: alone, or with others in host_parts."""

from __future__ import annotations

import traceback
import typing

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["Part", "do", "serve"]

_SHORTEST_MASK = 8
"""The mask of a shorter secret, say a header ``X-Canary: 1``, would eat every 1 of the result."""
Options = dict[str, typing.Any]
Result = dict[str, typing.Any]


class _Run(typing.Protocol):
    def __call__(self, params: Options, *, check_mode: bool) -> Result:
        """Do it; the warnings of the result are in ``told``. Raises BatonError."""


class Part(typing.NamedTuple):
    """A module: its options, what they need of each other, and what it does."""

    argument_spec: dict[str, dict[str, typing.Any]]
    run: _Run
    required_if: typing.Sequence[tuple[str, str, list[str]]] = ()
    mutually_exclusive: typing.Sequence[tuple[str, str]] = ()


def serve(part: Part) -> None:
    """Be the Ansible module that the part is."""
    module = AnsibleModule(
        argument_spec=part.argument_spec,
        required_if=part.required_if,
        mutually_exclusive=part.mutually_exclusive,
        supports_check_mode=True,
    )
    module.no_log_values = _masked(module.no_log_values)
    result = _done(part, module, module.params)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


def do(part: Part, options: Options, module: AnsibleModule) -> Result:
    """Do the part inside of another module, and return what it came to, also where it failed."""
    checker = ArgumentSpecValidator(
        part.argument_spec, required_if=part.required_if, mutually_exclusive=part.mutually_exclusive
    )
    try:
        validated = checker.validate(options)
    except (TypeError, ValueError, OverflowError) as error:
        # Ansible falls over a number where there should be suboptions, and over an infinite one where there should be another.
        # Nobody knows what of them is secret, and Ansible shows what a module was given.
        options.clear()
        return {"failed": True, "msg": f"the options are wrong: {error}"}
    module.no_log_values |= _masked(validated._no_log_values)  # AnsibleModule itself takes them from there
    if validated.error_messages:
        return {"failed": True, "msg": f"the options are wrong: {'; '.join(validated.error_messages)}"}
    try:
        return _done(part, module, validated.validated_parameters)
    except Exception as error:  # noqa: BLE001  # the other parts are done all the same
        return {"failed": True, "msg": f"{type(error).__name__}: {error}", "exception": traceback.format_exc()}


def _masked(secrets: typing.Iterable[str]) -> set[str]:
    return {one for one in secrets if len(one) >= _SHORTEST_MASK}


def _done(part: Part, module: AnsibleModule, params: Options) -> Result:
    try:
        result = part.run(params, check_mode=module.check_mode)
    except BatonError as error:
        return {"failed": True, **error.as_result()}
    for warning in result.pop("told", ()):
        module.warn(warning)
    return result
