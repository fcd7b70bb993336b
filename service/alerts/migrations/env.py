"""How Alembic runs a step: on the connection it is handed, in one transaction."""

from __future__ import annotations

from alembic import context

import service.alerts.screen_tables
import service.alerts.triage_tables  # noqa: F401 - and so do these
from service.alerts import models

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=models.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
