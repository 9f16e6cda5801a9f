# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the shadow tells of the insides of constraints and indexes, so that their conditions can be asked of the target's rows."""

from __future__ import annotations

import typing
from dataclasses import dataclass

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import Facts

__all__ = ["Parts", "read_parts"]

_OURS = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'"
# Columns that only some versions of the server have are asked for by name in a row as JSON.
_INDEXES = f"""
SELECT i.indexrelid::text, json_build_object('relation', i.indrelid::text, 'valid', i.indisvalid,
       'name', quote_ident(n.nspname) || '.' || quote_ident(c.relname), 'definition', pg_get_indexdef(i.indexrelid),
       'constraint', (SELECT k.oid::text FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')),
       'overlaps', i.indisexclusion, 'nulls_equal', coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       'own_operators', EXISTS (SELECT FROM unnest(i.indclass) AS used JOIN pg_opclass AS o ON o.oid = used
                                 WHERE NOT o.opcdefault AND o.opcname !~ '_pattern_ops$'),
       'keys', (SELECT json_agg(pg_get_indexdef(i.indexrelid, place, false) || CASE
                  WHEN i.indcollation[place - 1] = 0 OR i.indcollation[place - 1] = a.attcollation THEN ''
                  ELSE ' COLLATE ' || i.indcollation[place - 1]::regcollation END ORDER BY place)
                  FROM generate_series(1, i.indnkeyatts) AS place
                  LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[place - 1] AND a.attnum <> 0),
       'where', pg_get_expr(i.indpred, i.indrelid),
       'columns', (SELECT coalesce(json_agg(i.indrelid || '.' || number), '[]') FROM (
                     SELECT i.indkey[place - 1]::int FROM generate_series(1, i.indnkeyatts) AS place
                      UNION SELECT d.refobjsubid FROM pg_depend AS d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                        AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid) AS each(number) WHERE number > 0))
  FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE {_OURS} AND NOT c.relispartition AND (i.indisunique OR i.indisexclusion)"""  # noqa: S608 - made of constants
_CONSTRAINTS = f"""
SELECT k.oid::text, json_build_object('alone', k.connoinherit, 'full', k.confmatchtype = 'f', 'target', k.confrelid::text,
       'overlaps', coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false),
       'columns', (SELECT coalesce(json_agg(k.conrelid || '.' || number ORDER BY place), '[]')
                     FROM unnest(k.conkey) WITH ORDINALITY AS each(number, place)),
       'targets', (SELECT coalesce(json_agg(k.confrelid || '.' || number ORDER BY place), '[]')
                     FROM unnest(k.confkey) WITH ORDINALITY AS each(number, place)),
       'operators', (SELECT coalesce(json_agg('OPERATOR(' || quote_ident(s.nspname) || '.' || o.oprname || ')' ORDER BY place), '[]')
                       FROM unnest(k.conpfeqop) WITH ORDINALITY AS each(operator, place) JOIN pg_operator AS o ON o.oid = operator
                       JOIN pg_namespace AS s ON s.oid = o.oprnamespace),
       'passes_on', k.confdeltype NOT IN ('a', 'r', ' ') OR k.confupdtype NOT IN ('a', 'r', ' '))
  FROM pg_constraint AS k JOIN pg_namespace AS n ON n.oid = k.connamespace WHERE {_OURS} AND k.contype IN ('c', 'f')"""  # noqa: S608 - made of constants
_CALLED = """
SELECT objid::text, array_agg(refobjid::text) FROM pg_depend
 WHERE classid IN ('pg_class'::regclass, 'pg_constraint'::regclass) AND refclassid = 'pg_proc'::regclass GROUP BY objid"""
# What rows that were there before a column was added have in it. The text of an array of arrays does not read back as one.
_MISSING = """
SELECT a.attrelid || '.' || a.attnum, CASE WHEN t.typcategory <> 'A' THEN a.attmissingval::text END
  FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid WHERE a.atthasmissing"""


@dataclass(frozen=True)
class Parts:
    """The insides, by the key of what they belong to."""

    indexes: dict[str, Facts]
    """Unique and exclusion indexes, those of constraints too."""
    constraints: dict[str, Facts]
    """Checks and foreign keys."""
    called: dict[str, list[str]]
    """The functions of the database's own that an index or a constraint calls."""
    missing: dict[str, str | None]
    """For each column that was added with a default, what older rows have there, as an array of one; None when that cannot be said."""


def read_parts(own: Connection) -> Parts:
    """Return the insides of the constraints and indexes of a database; names are told in full."""
    own.execute(b"SET search_path = ''")
    indexes, constraints, called, missing = (
        {str(key): facts for key, facts in own.execute(query.encode()).fetchall()}
        for query in (_INDEXES, _CONSTRAINTS, _CALLED, _MISSING)
    )
    return Parts(indexes, constraints, called, missing)
