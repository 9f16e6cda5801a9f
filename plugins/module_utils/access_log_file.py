# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the access logs of load balancers have in common where they are files: one request a line, as it comes."""

from __future__ import annotations

import abc
import typing

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.followed_file import FollowedFile

if typing.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.baton.release.plugins.module_utils.traffic import Request

__all__ = ["AccessLogFile"]


class AccessLogFile(abc.ABC):
    """The requests in a log that is a file; what a line means is for each load balancer to say (``request_of``).

    ``entries`` counts the requests seen, ``matched`` those among them with the wanted fields, ``garbage`` other lines.
    """

    expected = ""
    """What the file has to be, for who names another one."""
    fix = ""
    """What to do where it is not there."""

    def __init__(
        self,
        path: Path,
        *,
        cursor: typing.Mapping[str, typing.Any] | None,
        match: typing.Mapping[str, typing.Any],
        own_agent: str,
    ) -> None:
        """Open the log.

        Args:
            path: where the load balancer writes it.
            cursor: where a previous reader stopped; None for the end of the file.
            match: top-level fields and their values that a request must have to be read.
            own_agent: User-Agent of requests whose breaking off is known at first hand, and is left out here.

        Raises:
            BatonError: the log is not there or cannot be read.
        """
        self.entries = self.matched = self.garbage = 0
        self._match, self._own_agent = match, own_agent
        try:
            self._file = FollowedFile(path, cursor)
        except OSError as error:
            raise BatonError(
                found=f"no readable log at {path} ({error.strerror})", expected=self.expected, fix=self.fix
            ) from error

    @abc.abstractmethod
    def request_of(self, line: bytes) -> Request | None:
        """Count a line, and return the request in it; None for one that is not to be judged, and for what is none."""

    @property
    def cursor(self) -> dict[str, int]:
        """Where the next reader goes on."""
        return self._file.cursor

    @property
    def gap(self) -> bool:
        """Whether lines may have been lost since the cursor."""
        return self._file.gap

    def close(self) -> None:
        """Close the log."""
        self._file.close()

    def read(self, *, last: bool = False) -> typing.Iterator[Request]:
        """Yield the requests that were written since the last call; each look costs little, so none is left out.

        Raises:
            BatonError: the log has gone.
        """
        del last
        try:
            yield from filter(None, map(self.request_of, self._file.lines()))
        except OSError as error:
            raise BatonError(
                found=f"the log cannot be read any longer ({error.strerror})",
                expected="a log that stays readable, also when it is rotated",
                fix="correct the rotation of the log (permissions of the new file), then watch again",
            ) from error

    def matches(self, entry: typing.Mapping[str, typing.Any]) -> bool:
        """Count a request, and say whether it has the wanted fields."""
        self.entries += 1
        wanted = all(entry.get(name) == value for name, value in self._match.items())
        self.matched += wanted
        return wanted
