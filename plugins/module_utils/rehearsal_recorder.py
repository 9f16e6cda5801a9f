# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What happens in a database while a tool that knows nothing of it migrates: recorded by triggers, in tables of our own.

Event triggers see each statement that changes the schema, whoever wrote it: the locks that its session has before and after it, the
scans of whole tables (which are counted for empty tables too) and the rewrites. Triggers for statements see each one that changes data,
also when it changes no row. A row of the tool's own table tells which migration has just ended. What is rolled back leaves no trace.

Nothing is called when rows are read. That a tool did so is known from the server's own counts of scans, less those of statements that
change the schema: code that goes through the rows of a table and changes some writes nothing while there are none.
"""

from __future__ import annotations

import time
import typing
from dataclasses import dataclass, field

from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import OWN_SCHEMA

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection

__all__ = ["Event", "arm", "install", "read_events", "tables_read"]

_QUIET = 5.0  # seconds
_POLL = 0.02  # seconds
_SHARED_COUNTS = 150000
"""The first server whose sessions count in shared memory; those of older ones send their counts to a process that takes its time."""
_OLD_DELAY = 1.2  # seconds

_INSTALL = f"""
CREATE SCHEMA {OWN_SCHEMA};
CREATE TABLE {OWN_SCHEMA}.tables (oid oid PRIMARY KEY, name text, history boolean, scanned bigint DEFAULT 0);
CREATE TABLE {OWN_SCHEMA}.state (armed boolean);
INSERT INTO {OWN_SCHEMA}.state VALUES (false);
CREATE TABLE {OWN_SCHEMA}.events (
  id bigserial PRIMARY KEY, transaction bigint DEFAULT txid_current(), kind text NOT NULL, tag text, query text DEFAULT current_query(),
  objects json DEFAULT '[]', held json DEFAULT '{{}}', locks json DEFAULT '{{}}', scans json DEFAULT '[]',
  reads json DEFAULT '{{}}', columns json DEFAULT '{{}}');

CREATE FUNCTION {OWN_SCHEMA}.columns() RETURNS json LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT coalesce(json_object_agg(a.attrelid || '.' || a.attnum, concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
           a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(e.adbin, e.adrelid))), '{{}}')
    FROM pg_attribute AS a JOIN {OWN_SCHEMA}.tables AS t ON t.oid = a.attrelid
    LEFT JOIN pg_attrdef AS e ON e.adrelid = a.attrelid AND e.adnum = a.attnum WHERE a.attnum > 0 AND NOT a.attisdropped $$;

CREATE FUNCTION {OWN_SCHEMA}.locks() RETURNS json LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT coalesce(json_object_agg(name, modes), '{{}}') FROM (
    SELECT t.name, array_agg(DISTINCT l.mode) AS modes FROM pg_locks AS l JOIN {OWN_SCHEMA}.tables AS t ON t.oid = l.relation
     WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND NOT t.history
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
     GROUP BY t.name) AS each $$;

CREATE FUNCTION {OWN_SCHEMA}.scans() RETURNS json LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT coalesce(json_object_agg(name, pg_stat_get_xact_numscans(oid)), '{{}}') FROM {OWN_SCHEMA}.tables WHERE NOT history $$;

CREATE FUNCTION {OWN_SCHEMA}.reads() RETURNS json LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT coalesce(json_object_agg(name, pg_stat_get_xact_numscans(oid) + coalesce((
           SELECT sum(pg_stat_get_xact_numscans(i.indexrelid)) FROM pg_index AS i WHERE i.indrelid = t.oid), 0)), '{{}}')
    FROM {OWN_SCHEMA}.tables AS t WHERE NOT history $$;

CREATE FUNCTION {OWN_SCHEMA}.started() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  IF (SELECT armed FROM {OWN_SCHEMA}.state) THEN
    PERFORM set_config('baton.locks', {OWN_SCHEMA}.locks()::text, false), set_config('baton.scans', {OWN_SCHEMA}.scans()::text, false),
      set_config('baton.reads', {OWN_SCHEMA}.reads()::text, false);
  END IF;
END $$;

CREATE FUNCTION {OWN_SCHEMA}.ended() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  before json := coalesce(nullif(current_setting('baton.scans', true), ''), '{{}}');
  read json := coalesce(nullif(current_setting('baton.reads', true), ''), '{{}}');
BEGIN
  IF (SELECT armed FROM {OWN_SCHEMA}.state) THEN
    INSERT INTO {OWN_SCHEMA}.events (kind, tag, objects, held, locks, scans, reads) VALUES ('ddl', tg_tag,
      (SELECT coalesce(json_agg(json_build_object('type', object_type, 'name', object_identity, 'tag', command_tag,
                'relation', CASE WHEN classid = 'pg_class'::regclass THEN objid::text END)), '[]')
         FROM pg_event_trigger_ddl_commands() WHERE NOT in_extension),
      coalesce(nullif(current_setting('baton.locks', true), ''), '{{}}')::json, {OWN_SCHEMA}.locks(),
      (SELECT coalesce(json_agg(key), '[]') FROM json_each_text({OWN_SCHEMA}.scans())
        WHERE value::bigint > coalesce((before ->> key)::bigint, 0)),
      (SELECT coalesce(json_object_agg(key, value::bigint - coalesce((read ->> key)::bigint, 0)), '{{}}')
         FROM json_each_text({OWN_SCHEMA}.reads()) WHERE value::bigint > coalesce((read ->> key)::bigint, 0)));
    INSERT INTO {OWN_SCHEMA}.events (kind, tag, objects) SELECT 'data', 'UNSEEN', json_build_array(json_build_object(
      'type', 'table', 'relation', t.oid::text, 'name', t.name)) FROM {OWN_SCHEMA}.tables AS t
     WHERE EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = t.oid AND g.tgname LIKE '{OWN_SCHEMA}%' AND g.tgenabled <> 'A');
  END IF;
END $$;

CREATE FUNCTION {OWN_SCHEMA}.dropped() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  IF (SELECT armed FROM {OWN_SCHEMA}.state) THEN
    INSERT INTO {OWN_SCHEMA}.events (kind, tag, objects, held, locks) SELECT 'drop', tg_tag,
      json_agg(json_build_object('type', object_type, 'name', object_identity, 'original', original, 'relation', objid::text)),
      coalesce(nullif(current_setting('baton.locks', true), ''), '{{}}')::json, {OWN_SCHEMA}.locks()
      FROM pg_event_trigger_dropped_objects() WHERE NOT is_temporary AND coalesce(object_name, '') NOT LIKE '{OWN_SCHEMA}%';
  END IF;
END $$;

CREATE FUNCTION {OWN_SCHEMA}.rewritten() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  IF (SELECT armed FROM {OWN_SCHEMA}.state) THEN
    INSERT INTO {OWN_SCHEMA}.events (kind, tag, objects) VALUES ('rewrite', tg_tag, json_build_array(json_build_object(
      'type', 'table', 'relation', pg_event_trigger_table_rewrite_oid()::text, 'name',
      coalesce((SELECT name FROM {OWN_SCHEMA}.tables WHERE oid = pg_event_trigger_table_rewrite_oid()),
               pg_event_trigger_table_rewrite_oid()::regclass::text), 'reason', pg_event_trigger_table_rewrite_reason())));
  END IF;
END $$;

CREATE FUNCTION {OWN_SCHEMA}.changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  IF (SELECT armed FROM {OWN_SCHEMA}.state) THEN
    INSERT INTO {OWN_SCHEMA}.events (kind, tag, objects, locks) SELECT 'data', tg_op, json_build_array(json_build_object(
      'type', 'table', 'relation', tg_relid::text, 'name', name)), {OWN_SCHEMA}.locks() FROM {OWN_SCHEMA}.tables WHERE oid = tg_relid;
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION {OWN_SCHEMA}.noted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  IF (SELECT armed FROM {OWN_SCHEMA}.state) THEN
    INSERT INTO {OWN_SCHEMA}.events (kind, tag, columns, objects)
    SELECT 'note', tg_op, {OWN_SCHEMA}.columns(), json_agg(value) FROM json_each_text(to_json(NEW));
  END IF;
  RETURN NULL;
END $$;

CREATE EVENT TRIGGER {OWN_SCHEMA}_started ON ddl_command_start EXECUTE FUNCTION {OWN_SCHEMA}.started();
CREATE EVENT TRIGGER {OWN_SCHEMA}_ended ON ddl_command_end EXECUTE FUNCTION {OWN_SCHEMA}.ended();
CREATE EVENT TRIGGER {OWN_SCHEMA}_dropped ON sql_drop EXECUTE FUNCTION {OWN_SCHEMA}.dropped();
CREATE EVENT TRIGGER {OWN_SCHEMA}_rewritten ON table_rewrite EXECUTE FUNCTION {OWN_SCHEMA}.rewritten();
"""  # noqa: S608 - made of constants
_EVENT_TRIGGERS = ("started", "ended", "dropped", "rewritten")
_TABLES = f"""
INSERT INTO {OWN_SCHEMA}.tables SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname), false
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}')
   AND n.nspname !~ '^pg_(toast|temp)';
UPDATE {OWN_SCHEMA}.tables SET history = name = ANY (%s);
"""  # noqa: S608 - made of constants
_HISTORY, _DATA = (
    f"SELECT name FROM {OWN_SCHEMA}.tables JOIN pg_class USING (oid) WHERE relkind <> 'm' AND {condition} ORDER BY 1"  # noqa: S608 - constants
    for condition in ("history", "NOT history")
)
_EVENTS = f"""
SELECT transaction, kind, tag, query, objects, held, locks, scans, columns FROM {OWN_SCHEMA}.events ORDER BY id
"""  # noqa: S608 - made of constants
_COUNT = """coalesce(pg_stat_get_numscans(t.oid), 0)
  + coalesce((SELECT sum(pg_stat_get_numscans(i.indexrelid)) FROM pg_index AS i WHERE i.indrelid = t.oid), 0)"""
_COUNTED = f"UPDATE {OWN_SCHEMA}.tables AS t SET scanned = {_COUNT}"  # noqa: S608 - made of constants
_READ = f"""
SELECT t.name FROM {OWN_SCHEMA}.tables AS t
 WHERE NOT t.history AND {_COUNT} > t.scanned + coalesce((SELECT sum((e.reads ->> t.name)::bigint) FROM {OWN_SCHEMA}.events AS e), 0)
 ORDER BY 1"""  # noqa: S608 - made of constants
# Sessions of ours stay, such as the one that holds the migration lock.
_OTHERS = b"""
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
   AND pid <> pg_backend_pid() AND application_name NOT LIKE 'baton.db_migrate%'"""
_START = f"INSERT INTO {OWN_SCHEMA}.events (kind, columns) VALUES ('start', {OWN_SCHEMA}.columns())"  # noqa: S608 - constants


@dataclass(frozen=True)
class Event:
    """Something that a migration did.

    ``kind`` is ``ddl``, ``drop``, ``rewrite``, ``data``, ``start``, or ``note`` (the tool noted a migration as applied).
    ``held`` are the modes of locks on tables of before that its session had already, ``locks`` those that it had afterwards;
    ``scans`` are the tables read as a whole.
    """

    transaction: int
    kind: str
    tag: str
    query: str
    objects: list[typing.Any]
    held: dict[str, list[str]] = field(default_factory=dict)
    locks: dict[str, list[str]] = field(default_factory=dict)
    scans: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    """What the columns of the tables were at a note, by their key."""


def install(connection: Connection, history: typing.Collection[str]) -> None:
    """Make the recorder in the database of ``connection``, whose user is a superuser; ``history`` are the tool's own tables."""
    connection.execute(_INSTALL.encode())
    for name in _EVENT_TRIGGERS:
        connection.execute(f"ALTER EVENT TRIGGER {OWN_SCHEMA}_{name} ENABLE ALWAYS".encode())
    first, second = _TABLES.split(";\n")[:2]
    connection.execute(first.encode())
    connection.execute(second.encode(), [list(history)])
    triggers = [
        _trigger(table, "INSERT OR UPDATE OR DELETE OR TRUNCATE", "FOR EACH STATEMENT", "changed")
        for (table,) in connection.execute(_DATA.encode()).fetchall()
    ]
    triggers += [
        _trigger(table, "INSERT OR UPDATE", "FOR EACH ROW", "noted")
        for (table,) in connection.execute(_HISTORY.encode()).fetchall()
    ]
    if triggers:
        connection.execute("; ".join(triggers).encode())


def _trigger(table: str, verbs: str, each: str, function: str) -> str:
    name = f"{OWN_SCHEMA}_{function}"
    return (
        f"CREATE TRIGGER {name} AFTER {verbs} ON {table} {each} EXECUTE FUNCTION {OWN_SCHEMA}.{function}();"
        # Also while a tool has the server leave out triggers, as for a bulk load.
        f" ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"
    )


def arm(connection: Connection, *, on: bool, count: bool = True) -> None:
    """Begin to record, or end it; without ``count`` which tables are read is not to be known of this part."""
    if on and count:
        _let_others_end(connection)
        connection.execute(_COUNTED.encode())
        connection.execute(_START.encode())
    connection.execute(f"UPDATE {OWN_SCHEMA}.state SET armed = %s".encode(), [on])  # noqa: S608 - a constant


def read_events(connection: Connection) -> list[Event]:
    """Return what was recorded, in order."""
    return [
        Event(transaction, kind, tag or "", query or "", objects or [], held, locks, scans, columns)
        for transaction, kind, tag, query, objects, held, locks, scans, columns in connection.execute(
            _EVENTS.encode()
        ).fetchall()
    ]


def tables_read(connection: Connection) -> list[str]:
    """Return the tables of which rows were looked for since the recording began, other than by statements that change the schema."""
    _let_others_end(connection)
    return [str(name) for (name,) in connection.execute(_READ.encode()).fetchall()]


def _let_others_end(connection: Connection) -> None:
    """Wait for the sessions of programs that have ended: the server adds up what they did when it notices."""
    deadline = time.monotonic() + _QUIET
    while connection.execute(_OTHERS).fetchall()[0][0] and time.monotonic() < deadline:
        time.sleep(_POLL)
    if connection.info.server_version < _SHARED_COUNTS:
        time.sleep(_OLD_DELAY)
