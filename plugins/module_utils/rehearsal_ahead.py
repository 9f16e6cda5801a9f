# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A server for a rehearsal that is made while the app's tool is asked what there is to rehearse: each takes about half a second."""

from __future__ import annotations

import contextlib
import typing
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.baton.release.plugins.module_utils._psycopg import connect
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import POSTGRESQL, kind_of
from ansible_collections.baton.release.plugins.module_utils.rehearsal_kept import likely_new
from ansible_collections.baton.release.plugins.module_utils.rehearsal_room import SESSION
from ansible_collections.baton.release.plugins.module_utils.rehearsal_server import find_programs, throw_away_server

if typing.TYPE_CHECKING:
    from concurrent.futures import Future

    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Surroundings
    from ansible_collections.baton.release.plugins.module_utils.migration_user import Account
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_how import Rehearsal
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_server import Programs, Serve, Server

__all__ = ["server_ahead"]


@contextlib.contextmanager
def server_ahead(how: Rehearsal, around: Surroundings) -> typing.Iterator[Serve]:
    """Begin to make a server where one is likely to be needed, and give what serves it; it is gone afterwards, needed or not.

    Where none can be made, whoever needs one tries it again, and says why.

    Args:
        how: how to rehearse.
        around: the environment of the tool, which says what the server has to be like.
    """
    if how.server_variable or kind_of(around.url) != POSTGRESQL or not likely_new(how):
        yield throw_away_server
        return
    with contextlib.ExitStack() as made, ThreadPoolExecutor(1) as maker:
        # The server is bound to the thread that starts it, and that one lives as long as this does.
        making = maker.submit(_make, made, around, how.programs)

        @contextlib.contextmanager
        def serve(wanted: Programs, account: Account | None) -> typing.Iterator[Server]:
            with contextlib.ExitStack() as stack:
                yield _taken(making, wanted) or stack.enter_context(throw_away_server(wanted, account))

        try:
            yield serve
        finally:
            # Whatever comes of it: what has been started has to be stopped, by the thread that it is bound to.
            with contextlib.suppress(BatonError):
                making.result()
            maker.submit(made.close).result()


def _make(made: contextlib.ExitStack, around: Surroundings, directory: str | None) -> tuple[Programs, Server]:
    with contextlib.closing(connect(around.variables, around.url, application_name=SESSION)) as session:
        major = session.info.server_version // 10000
    programs = find_programs(directory, major=major)
    return programs, made.enter_context(throw_away_server(programs, around.account))


def _taken(making: Future[tuple[Programs, Server]], wanted: Programs) -> Server | None:
    try:
        programs, server = making.result()
    except BatonError:
        return None
    return server if programs == wanted else None
