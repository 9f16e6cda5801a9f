# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a module is made of, and how Ansible runs it: alone, or with others in host_parts."""

from __future__ import annotations

import typing

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["Part", "do", "serve"]

Options = dict[str, typing.Any]
Result = dict[str, typing.Any]


class _Run(typing.Protocol):
    def __call__(self, params: Options, *, check_mode: bool) -> Result:
        """Do it; the warnings of the result are in ``told``. Raises BatonError."""


def _none(_params: Options) -> set[str]:
    return set()


class Part(typing.NamedTuple):
    """A module: its options, what they need of each other, and what it does."""

    argument_spec: dict[str, dict[str, typing.Any]]
    run: _Run
    required_if: list[tuple[str, str, list[str]]] = []  # noqa: RUF012  # nobody changes it
    mutually_exclusive: list[tuple[str, str]] = []  # noqa: RUF012  # nobody changes it
    secrets: typing.Callable[[Options], set[str]] = _none
    """What must not be shown of the options."""


def serve(part: Part) -> None:
    """Be the Ansible module that the part is."""
    module = AnsibleModule(
        argument_spec=part.argument_spec,
        required_if=part.required_if,
        mutually_exclusive=part.mutually_exclusive,
        supports_check_mode=True,
    )
    module.no_log_values = part.secrets(module.params)
    result = _done(part, module, module.params)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


def do(part: Part, options: Options, module: AnsibleModule) -> Result:
    """Do the part inside of another module, and return what it came to, also where it failed."""
    validated = ArgumentSpecValidator(
        part.argument_spec, required_if=part.required_if, mutually_exclusive=part.mutually_exclusive
    ).validate(options)
    if validated.error_messages:
        return {"failed": True, "msg": f"the options are wrong: {'; '.join(validated.error_messages)}"}
    params = validated.validated_parameters
    module.no_log_values |= part.secrets(params)
    return _done(part, module, params)


def _done(part: Part, module: AnsibleModule, params: Options) -> Result:
    try:
        result = part.run(params, check_mode=module.check_mode)
    except BatonError as error:
        return {"failed": True, **error.as_result()}
    for warning in result.pop("told", ()):
        module.warn(warning)
    return result
