from odoo import api, models
from odoo.tools import SQL


class StockAppendOnlyMixin(models.AbstractModel):
    """Rows that the database itself refuses to change or to delete.

    Python refuses as well, with a message for the user; the triggers are for whatever
    does not go through the ORM. They fire under any session_replication_role.
    """

    _name = "stock.append.only.mixin"
    _description = "Rows That Stay as They Are"

    # What PostgreSQL tells whoever tries, and what is to be done instead.
    _refusal = None
    _refusal_hint = None

    def init(self):
        """Make the triggers that refuse changes."""
        if not self._abstract:
            self.env.cr.execute(self._query_refusal_triggers())
        return super().init()

    @api.model
    def _query_changeable(self):
        """Return the condition, in PL/pgSQL on OLD and TG_OP, of rows that may change."""
        return SQL("FALSE")

    @api.model
    def _query_refusal_triggers(self):
        return SQL(
            """
            CREATE OR REPLACE FUNCTION %(function)s() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF TG_LEVEL = 'ROW' THEN
                    IF %(changeable)s THEN
                        IF TG_OP = 'DELETE' THEN
                            RETURN OLD;
                        END IF;
                        RETURN NEW;
                    END IF;
                END IF;
                RAISE EXCEPTION USING
                    MESSAGE = %(message)s || ': ' || TG_OP || ' refused.',
                    HINT = %(hint)s,
                    ERRCODE = 'restrict_violation';
            END $$;
            DROP TRIGGER IF EXISTS %(no_change)s ON %(table)s;
            CREATE TRIGGER %(no_change)s BEFORE UPDATE OR DELETE ON %(table)s
                FOR EACH ROW EXECUTE FUNCTION %(function)s();
            DROP TRIGGER IF EXISTS %(no_truncate)s ON %(table)s;
            CREATE TRIGGER %(no_truncate)s BEFORE TRUNCATE ON %(table)s
                FOR EACH STATEMENT EXECUTE FUNCTION %(function)s();
            ALTER TABLE %(table)s
                ENABLE ALWAYS TRIGGER %(no_change)s,
                ENABLE ALWAYS TRIGGER %(no_truncate)s
            """,
            table=SQL.identifier(self._table),
            function=self._get_refusal_function(),
            changeable=self._query_changeable(),
            message=self._refusal,
            hint=self._refusal_hint,
            no_change=SQL.identifier(f"{self._table}_no_change"),
            no_truncate=SQL.identifier(f"{self._table}_no_truncate"),
        )

    @api.model
    def _get_refusal_function(self):
        return SQL.identifier(f"{self._table}_refuse_change")

    @api.model
    def _get_append_only_models(self):
        """Return the models that have these triggers."""
        return [self.env[name] for name in sorted(self.pool[self._name]._inherit_children)]

    @api.model
    def _get_refusal_triggers(self):
        """Return the names of all these triggers."""
        return [
            f"{model._table}_{suffix}"
            for model in self._get_append_only_models()
            for suffix in ("no_change", "no_truncate")
        ]

    @api.model
    def _drop_refusals(self):
        """Drop the functions of all these models, which outlive their tables."""
        for model in self._get_append_only_models():
            self.env.cr.execute(
                SQL("DROP FUNCTION IF EXISTS %s() CASCADE", model._get_refusal_function())
            )
