"""Whether a department is trusted with code."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Departments that are there are trusted, as they were without asking."""
    op.add_column("departments", sa.Column("trusted", sa.Boolean(), nullable=False, server_default=sa.true()))
