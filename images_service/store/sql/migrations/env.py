# SPDX-License-Identifier: Apache-2.0
"""Runs migrations on the connection that ``migrations.run`` hands over."""

from alembic import context

from images_service.store.sql import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    # SQLite can't alter most things of a table; alembic then copies it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
