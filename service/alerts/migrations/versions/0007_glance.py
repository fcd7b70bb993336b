"""Everything that counting and gathering open alerts asks for in one index, so that neither reads whole rows."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_BEFORE = ["tenant", "is_open", "priority", "changed", "id"]
_READ = ["severity", "indicator", "kind", "mode", "suppressed_by", "snoozed_until", "patient"]


def upgrade() -> None:
    """Widen the index of the worklist."""
    op.drop_index("alert_worklist", table_name="alert")
    op.create_index("alert_worklist", "alert", [*_BEFORE, *_READ])


def downgrade() -> None:
    """Narrow it again."""
    op.drop_index("alert_worklist", table_name="alert")
    op.create_index("alert_worklist", "alert", _BEFORE)
