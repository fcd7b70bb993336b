"""Triggers that refuse to change what is written once, and to remove it except by retention."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Table -> the column that retention judges age by.
_TABLES = {"event": "at", "audit": "at", "feedback": "received"}
_FEEDBACK_FIXED = (
    "tenant", "id", "service", "card", "outcome", "reason_code", "reason_system", "accepted",
    "sealed_with", "comment", "at", "received",
)  # fmt: skip


def upgrade() -> None:
    """Make the triggers."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table, age in _TABLES.items():
        for statement in (_sqlite if sqlite else _postgres)(table, age):
            op.execute(statement)


def downgrade() -> None:
    """Remove them."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table in _TABLES:
        for what in ("update", "delete") if sqlite else ("update", "delete", "truncate"):
            op.execute(f"DROP TRIGGER {table}_no_{what}" + ("" if sqlite else f" ON {table}"))
        if not sqlite:
            op.execute(f"DROP FUNCTION {table}_keep()")


def _changed(table: str, different: str) -> str:
    """The condition under which an update is refused: feedback may still find its card, nothing else changes."""
    if table != "feedback":
        return ""
    return " OR ".join(f"OLD.{column} {different} NEW.{column}" for column in _FEEDBACK_FIXED)


def _sqlite(table: str, age: str) -> list[str]:
    changed = _changed(table, "IS NOT")
    update = f"BEFORE UPDATE ON {table}" + (f" WHEN {changed}" if changed else "")
    delete = f"BEFORE DELETE ON {table} WHEN NOT EXISTS ({_permit(table, age)})"
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    return [
        f"CREATE TRIGGER {table}_no_update {update} {refuse}",
        f"CREATE TRIGGER {table}_no_delete {delete} {refuse}",
    ]


def _postgres(table: str, age: str) -> list[str]:
    changed = _changed(table, "IS DISTINCT FROM") or "TRUE"
    body = f"""
        IF TG_OP = 'UPDATE' AND NOT ({changed}) THEN RETURN NEW; END IF;
        IF TG_OP = 'DELETE' THEN
            IF EXISTS ({_permit(table, age)}) THEN RETURN OLD; END IF;
        END IF;
        RAISE EXCEPTION '{table} is append-only';
    """
    keep = f"EXECUTE FUNCTION {table}_keep()"
    return [
        f"CREATE FUNCTION {table}_keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$",
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} FOR EACH ROW {keep}",
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} FOR EACH ROW {keep}",
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} {keep}",
    ]


def _permit(table: str, age: str) -> str:
    return f"SELECT 1 FROM retention_permit WHERE name = '{table}' AND OLD.{age} < before"  # noqa: S608  names of ours
