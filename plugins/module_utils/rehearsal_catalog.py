# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a PostgreSQL database consists of, read from its catalogs: each object by its oid, which a change of name does not change."""

from __future__ import annotations

import json
import re
import typing

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection

__all__ = ["OWN_SCHEMA", "Catalog", "Facts", "difference", "read_catalog"]

Facts = typing.Dict[str, typing.Any]  # noqa: UP006 - Python 3.9 evaluates it
Catalog = typing.Dict[str, typing.Dict[str, Facts]]  # noqa: UP006 - Python 3.9 evaluates it
"""For each kind its objects by their key; each has at least its ``name``."""

OWN_SCHEMA = "baton_rehearsal"
_MACROS: dict[str, str] = {
    "ours": f"NOT LIKE '{OWN_SCHEMA}%'",
    "spaces": f"n.nspname NOT IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}') AND n.nspname !~ '^pg_(toast|temp)'",
    # What belongs to an extension comes and goes with it.
    "own": "NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = '{0}'::regclass AND d.objid = {1}.oid AND d.deptype = 'e')",
    "name": "quote_ident(n.nspname) || '.' || quote_ident({0})",
    "granted": """(SELECT coalesce(json_agg(one ORDER BY one), '[]') FROM (
  SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END || ':' || a.privilege_type
    FROM aclexplode({0}) AS a) AS each(one))""",
    "rights": "@granted coalesce({0},acldefault('{1}',{2}))@",
}
"""What stands for ``@name argument argument@`` in a query."""
_MACRO = re.compile(r"@(\w+)((?: [^\s@]+)*)@")


def _expanded(query: str) -> str:
    text = _MACRO.sub(lambda found: _MACROS[found[1]].format(*found[2].split()), query)
    return _expanded(text) if _MACRO.search(text) else text


_QUERIES: dict[str, str] = {
    "schema": """
SELECT n.oid, json_build_object('name', quote_ident(n.nspname), 'owner', pg_get_userbyid(n.nspowner),
       'rights', @rights n.nspacl n n.nspowner@)
  FROM pg_namespace AS n WHERE @spaces@ AND @own pg_namespace n@""",
    "relation": """
SELECT c.oid, json_build_object('name', @name c.relname@, 'kind', c.relkind, 'persistence', c.relpersistence,
       'rls', c.relrowsecurity, 'rls_forced', c.relforcerowsecurity, 'options', coalesce(to_json(c.reloptions), '[]'),
       'definition', CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
       'owner', pg_get_userbyid(c.relowner), 'rights', @rights c.relacl r c.relowner@, 'identity', c.relreplident,
       'parents', (SELECT coalesce(json_agg(i.inhparent::regclass::text ORDER BY i.inhseqno), '[]') FROM pg_inherits AS i
                    WHERE i.inhrelid = c.oid),
       'bound', pg_get_expr(c.relpartbound, c.oid), 'method', c.relam::text, 'storage', c.relfilenode::text)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE @spaces@ AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND @own pg_class c@""",
    "column": """
SELECT a.attrelid || '.' || a.attnum, json_build_object('name', @name c.relname@ || '.' || quote_ident(a.attname),
       'relation', c.oid::text, 'column', a.attname, 'kind', c.relkind, 'type', format_type(a.atttypid, a.atttypmod),
       'notnull', a.attnotnull, 'proven', NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = a.attrelid
         AND k.contype = 'n' AND a.attnum = ANY (k.conkey) AND NOT k.convalidated),
       'type_notnull', t.typtype = 'd' AND (t.typnotnull OR EXISTS (
         SELECT FROM pg_constraint AS k WHERE k.contypid = t.oid)), 'default', pg_get_expr(e.adbin, e.adrelid),
       'always', a.attidentity, 'generated', a.attgenerated, 'collation', a.attcollation::regcollation::text,
       'rights', @granted a.attacl@, 'position', row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum))
  FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_type AS t ON t.oid = a.atttypid LEFT JOIN pg_attrdef AS e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
 WHERE @spaces@ AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
   AND @own pg_class c@""",
    "constraint": """
SELECT k.oid, json_build_object('name', @name c.relname@ || '.' || quote_ident(k.conname), 'constraint', k.conname,
       'relation', c.oid::text, 'type', k.contype, 'definition', pg_get_constraintdef(k.oid), 'validated', k.convalidated,
       'expression', pg_get_expr(k.conbin, k.conrelid),
       'columns', (SELECT coalesce(json_agg(c.oid || '.' || number), '[]') FROM unnest(k.conkey) AS number))
  FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE @spaces@ AND k.contype IN ('p', 'u', 'c', 'f', 'x') AND k.conparentid = 0 AND k.coninhcount = 0""",
    "index": """
SELECT c.oid, json_build_object('name', @name c.relname@, 'relation', i.indrelid::text,
       'definition', pg_get_indexdef(c.oid), 'unique', i.indisunique, 'valid', i.indisvalid,
       'computed', i.indexprs IS NOT NULL OR i.indpred IS NOT NULL,
       'columns', (SELECT coalesce(json_agg(i.indrelid || '.' || number), '[]') FROM unnest(i.indkey) AS number),
       'storage', c.relfilenode::text)
  FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE @spaces@ AND NOT c.relispartition
   AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = c.oid AND k.contype IN ('p', 'u', 'x'))""",
    "trigger": """
SELECT g.oid, json_build_object('name', @name c.relname@ || '.' || quote_ident(g.tgname), 'relation', c.oid::text,
       'definition', pg_get_triggerdef(g.oid), 'enabled', g.tgenabled)
  FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE @spaces@ AND NOT g.tgisinternal AND g.tgparentid = 0 AND g.tgname @ours@""",
    "policy": """
SELECT p.oid, json_build_object('name', @name c.relname@ || '.' || quote_ident(p.polname), 'relation', c.oid::text,
       'permissive', p.polpermissive, 'command', p.polcmd, 'using', pg_get_expr(p.polqual, p.polrelid),
       'check', pg_get_expr(p.polwithcheck, p.polrelid), 'roles', (SELECT json_agg(pg_get_userbyid(one)) FROM unnest(p.polroles) AS one))
  FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE @spaces@""",
    "rule": """
SELECT r.oid, json_build_object('name', @name c.relname@ || '.' || quote_ident(r.rulename), 'relation', c.oid::text,
       'definition', pg_get_ruledef(r.oid), 'enabled', r.ev_enabled)
  FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE @spaces@ AND r.rulename <> '_RETURN'""",
    "function": """
SELECT p.oid, json_build_object('name', @name p.proname@ || '(' || pg_get_function_identity_arguments(p.oid) || ')',
       'bare', p.proname, 'kind', p.prokind, 'result', pg_get_function_result(p.oid),
       'arguments', pg_get_function_arguments(p.oid), 'owner', pg_get_userbyid(p.proowner),
       'definition', CASE WHEN p.prokind = 'a' THEN p.prosrc ELSE pg_get_functiondef(p.oid) END,
       'rights', @rights p.proacl f p.proowner@)
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE @spaces@ AND @own pg_proc p@""",
    "type": """
SELECT t.oid, json_build_object('name', @name t.typname@, 'kind', t.typtype, 'owner', pg_get_userbyid(t.typowner),
       'labels', (SELECT json_object_agg(e.oid::text, e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = t.oid),
       'order', (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = t.oid),
       'base', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END, 'notnull', t.typnotnull,
       'default', t.typdefault, 'rights', @rights t.typacl T t.typowner@,
       'checks', (SELECT coalesce(json_object_agg(k.conname, pg_get_constraintdef(k.oid) ORDER BY k.conname), '{}')
                    FROM pg_constraint AS k WHERE k.contypid = t.oid AND k.contype = 'c'))
  FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
 WHERE @spaces@ AND t.typtype IN ('e', 'd', 'r') AND @own pg_type t@""",
    "sequence": """
SELECT c.oid, json_build_object('name', @name c.relname@, 'owner', pg_get_userbyid(c.relowner),
       'shape', concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle),
       'rights', @rights c.relacl s c.relowner@, 'storage', c.relfilenode::text,
       'last', pg_sequence_last_value(c.oid)::text,
       'of', (SELECT d.refobjid || '.' || d.refobjsubid FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass
                 AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') LIMIT 1))
  FROM pg_sequence AS s JOIN pg_class AS c ON c.oid = s.seqrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE @spaces@ AND @own pg_class c@""",
    "extension": "SELECT oid, json_build_object('name', quote_ident(extname), 'version', extversion) FROM pg_extension",
    "event trigger": """
SELECT oid, json_build_object('name', quote_ident(evtname), 'event', evtevent, 'enabled', evtenabled, 'tags', to_json(evttags),
       'function', evtfoid::regproc::text) FROM pg_event_trigger WHERE evtname @ours@""",
    "setting": """
SELECT setdatabase || '.' || setrole, json_build_object('name', 'settings of ' || CASE setrole WHEN 0 THEN 'the database' ELSE
       'the role ' || quote_ident(pg_get_userbyid(setrole)) END, 'settings', to_json(setconfig)) FROM pg_db_role_setting
 WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
   AND pg_get_userbyid(setrole) !~ '^baton_rehearsal_[0-9a-f]{16}$'""",
}

# One text for each kind: to take thousands of rows one by one costs more than to read the catalogs.
_AS_TEXT = """
SELECT concat('[', string_agg(concat('[', to_json(found.key::text), ',', found.facts, ']'), ','), ']') FROM ({}) AS found(key, facts)"""
_READ: dict[str, bytes] = {kind: _AS_TEXT.format(_expanded(query)).encode() for kind, query in _QUERIES.items()}

# What differs between two databases of the same shape, or is only for finding things again.
_OF_ONE_DATABASE = frozenset({"storage", "last", "relation", "columns", "labels", "of"})


def read_catalog(connection: Connection, ignored: typing.Collection[str] = ()) -> Catalog:
    """Return what the database of ``connection`` consists of, without the tables called ``ignored``, which belong to the tool."""
    # With nothing on the path every name is told in full, whatever the path of the app is.
    connection.execute(b"SET search_path = ''")
    found: Catalog = {}
    for kind, query in _READ.items():
        (text,) = connection.execute(query).fetchall()[0]
        found[kind] = {str(key): facts for key, facts in json.loads(text)}
    unwanted = {key for key, facts in found["relation"].items() if facts["name"] in ignored}
    return {
        kind: {
            key: facts
            for key, facts in objects.items()
            if key not in unwanted
            and facts.get("relation") not in unwanted
            and str(facts.get("of") or "").partition(".")[0] not in unwanted
        }
        for kind, objects in found.items()
    }


def difference(before: Catalog, after: Catalog) -> list[str]:
    """Return in words how two states of a schema differ, whatever way led there; nothing when they are the same."""
    told: list[str] = []
    for kind in _QUERIES:
        old, new = (_by_name(catalog[kind]) for catalog in (before, after))
        told += [f"{kind} {name} is missing" for name in sorted(old.keys() - new.keys())]
        told += [f"{kind} {name} is left over" for name in sorted(new.keys() - old.keys())]
        for name in sorted(old.keys() & new.keys()):
            told += [
                f"{kind} {name}: {fact} was {_shown(old[name][fact])}, is {_shown(new[name][fact])}"
                for fact in old[name]
                if old[name][fact] != new[name][fact]
            ]
    return told


def _by_name(objects: dict[str, Facts]) -> dict[str, Facts]:
    return {
        facts["name"]: {fact: value for fact, value in facts.items() if fact not in _OF_ONE_DATABASE}
        for facts in objects.values()
    }


def _shown(value: object) -> str:
    return "nothing" if value in (None, "", []) else str(value)
