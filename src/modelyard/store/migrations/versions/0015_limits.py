"""Limits: how many rows a second a token may have predicted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Tokens of a database from before have no limit."""
    op.add_column("tokens", sa.Column("rows_per_second", sa.Float()))
