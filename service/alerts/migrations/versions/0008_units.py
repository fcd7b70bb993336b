"""Silences for a care unit and for a group of patients, and where the newest review found each patient."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NEW = (("patient", "unit"), ("patient", "groups"), ("silence", "unit"), ("silence", "patient_group"))  # fmt: skip


def upgrade() -> None:
    """Add the columns; nobody is known to be anywhere until the next review."""
    for table, name in _NEW:
        op.add_column(table, sa.Column(name, sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Remove them; silences of a unit or a group would otherwise reach everybody."""
    op.execute("UPDATE silence SET state = 'lifted' WHERE unit <> '' OR patient_group <> ''")
    for table, name in reversed(_NEW):
        op.drop_column(table, name)
