"""Tables of the worklist's own conveniences: decisions that may still be taken back, and views that people keep."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKeyConstraint, Index, PrimaryKeyConstraint, Table, Text

from service.alerts.models import Long, metadata

# What a pharmacist did in one go; ``entries`` lists [alert, version afterwards, standing before] as JSON.
taken_together = Table(
    "taken_together",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("at", Long, nullable=False),
    Column("entries", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "id"),
    Index("taken_together_by_age", "at"),
    sqlite_strict=True,
)

# A view of somebody's own: a name and the filters as they stand in the address, without any patient.
saved_view = Table(
    "saved_view",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("filters", Text, nullable=False),
    Column("created", Long, nullable=False),
    PrimaryKeyConstraint("tenant", "account", "name"),
    ForeignKeyConstraint(
        ["tenant", "account"], ["account.tenant", "account.name"], name="saved_view_of_account"
    ),
    sqlite_strict=True,
)
