# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A program for the app's own Node.js, run in its release tree: it prints where a knex project and its database are.

It is fed to ``node -`` on standard input. Its own status would make the tables of knex; this one looks first whether they are there.
The answer is the one line that begins with the marker, the last argument.
"""

from __future__ import annotations

__all__ = ["PROGRAM"]

PROGRAM = r"""
const path = require("path");
const { pathToFileURL } = require("url");

async function load(file) {
  let found;
  try {
    found = require(file);
  } catch (error) {
    if (error.code !== "ERR_REQUIRE_ESM" && error.code !== "ERR_REQUIRE_ASYNC_MODULE") throw error;
    found = await import(pathToFileURL(file));
  }
  found = found.default || found;
  if (typeof found === "function") found = await found();
  return found[process.env.NODE_ENV || "development"] || found;
}

function wayDown(migration) {
  if (typeof migration.down !== "function") return "refuses";
  const text = String(migration.down).replace(/\/\*[^]*?\*\/|\/\/.*/g, "");
  return /(\{\s*(return\s*)?(Promise\.resolve\(\s*\))?\s*;?\s*\}|=>\s*Promise\.resolve\(\s*\)\s*;?)\s*$/.test(text) ? "empty" : "yes";
}

async function described(source, one) {
  const loaded = await source.getMigration(one);
  const migration = typeof loaded.up !== "function" && loaded.default ? loaded.default : loaded;
  const revision = source.getMigrationName(one);
  const words = revision.replace(/\.[^.]*$/, "").replace(/^\d+[_-]?/, "").replace(/[_-]+/g, " ");
  const phase = migration.phase === undefined ? "unmarked" : String(migration.phase);
  return { revision, description: words, phase, down: wayDown(migration) };
}

async function rows(knex, schema, table, column, order) {
  if (knex.client.dialect !== "postgresql") {
    if (!(await knex.schema.hasTable(table))) return [];
    const query = knex(table).select({ value: column });
    return (await (order ? query.orderBy("id") : query)).map((row) => row.value);
  }
  const quoted = [schema, table].filter(Boolean).map((one) => `"${one.replace(/"/g, '""')}"`).join(".");
  const there = (await knex.raw("select to_regclass(?) is not null as there", [quoted])).rows[0].there;
  return there ? (await knex.raw(`select ${column} as value from ${quoted} ${order}`)).rows.map((row) => row.value) : [];
}

async function read(knexfile, dialect) {
  const file = path.resolve(knexfile);
  const paths = [path.dirname(file)];
  let knexPath;
  try {
    knexPath = require.resolve("knex", { paths });
  } catch (error) {
    return { missing: "knex" };
  }
  process.chdir(path.dirname(file)); // as the command of knex does
  const home = path.dirname(require.resolve("knex/package.json", { paths }));
  const about = { cli: path.join(home, "bin", "cli.js"), version: require(path.join(home, "package.json")).version };
  const knex = require(knexPath)(await load(file));
  try {
    if (knex.client.dialect !== dialect) return { dialect: String(knex.client.dialect) };
    const config = knex.migrate.config;
    const found = await config.migrationSource.getMigrations(config.loadExtensions);
    const revisions = [];
    for (const one of found) revisions.push(await described(config.migrationSource, one));
    const done = await rows(knex, config.schemaName, config.tableName, "name", "order by id");
    const locks = await rows(knex, config.schemaName, `${config.tableName}_lock`, "is_locked", "");
    return { ...about, revisions, done, locked: locks.some((one) => Number(one) !== 0), table: config.tableName };
  } finally {
    await knex.destroy();
  }
}

const [knexfile, dialect, marker] = process.argv.slice(-3);
read(knexfile, dialect).then(
  (answer) => process.stdout.write(`\n${marker}${JSON.stringify(answer)}\n`, () => process.exit(0)),
  (error) => process.stderr.write(`${error.stack || error}\n`, () => process.exit(1))
);
"""
