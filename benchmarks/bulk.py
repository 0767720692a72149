"""Inserts many rows into Odoo's tables; runs inside an Odoo process."""

from contextlib import contextmanager

from odoo.tools import SQL

from .report import say

# Indexes that no constraint stands for, and foreign keys: table, name, kind, definition.
QUERY_DROPPED = """
    SELECT indrelid::regclass::text, indexrelid::regclass::text, 'index',
           pg_get_indexdef(indexrelid)
      FROM pg_index
     WHERE indrelid = ANY(%(tables)s::regclass[])
       AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype <> 'f')
     UNION ALL
    SELECT conrelid::regclass::text, conname, 'foreign key', pg_get_constraintdef(oid)
      FROM pg_constraint
     WHERE conrelid = ANY(%(tables)s::regclass[]) AND contype = 'f'
"""


def insert(env, table, source, values):
    """Insert rows that repeat templates.

    :param str table: where to
    :param SQL source: FROM clause; the templates' alias is ``template``
    :param dict values: SQL by column, of what is not the template's
    """
    columns = _get_columns(env, table)
    env.cr.execute(
        SQL(
            "INSERT INTO %s (%s) SELECT %s FROM %s",
            SQL.identifier(table),
            SQL(", ").join(map(SQL.identifier, columns)),
            SQL(", ").join(values.get(name, SQL.identifier("template", name)) for name in columns),
            source,
        )
    )
    env.cr.execute(
        SQL(
            "SELECT setval(pg_get_serial_sequence(%s, 'id'), MAX(id)) FROM %s",
            table,
            SQL.identifier(table),
        )
    )


def _get_columns(env, table):
    query = """SELECT attname FROM pg_attribute
                WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"""
    return [name for [name] in env.execute_query(SQL(query, table))]


@contextmanager
def without_indexes(env, tables):
    """Take away, while the block lasts, what makes inserting slow; commit.

    The foreign keys are not checked when they are made again: what was repeated is right.
    """
    dropped = env.execute_query(SQL(QUERY_DROPPED, tables=list(tables)))
    for table, name, kind, _definition in dropped:
        if kind == "index":
            env.cr.execute(SQL("DROP INDEX %s", SQL.identifier(name)))
        else:
            names = SQL.identifier(table), SQL.identifier(name)
            env.cr.execute(SQL("ALTER TABLE %s DROP CONSTRAINT %s", *names))
    env.cr.commit()
    yield
    for table, name, kind, definition in dropped:
        if kind == "index":
            say(f"  index {name}")
            env.cr.execute(SQL(definition))
        else:
            names = SQL.identifier(table), SQL.identifier(name)
            query = "ALTER TABLE %s ADD CONSTRAINT %s %s NOT VALID"
            env.cr.execute(SQL(query, *names, SQL(definition)))
        env.cr.commit()
