"""What each node tells of its machine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """A node of an older release tells nothing."""
    op.add_column("nodes", sa.Column("condition", sa.Text()))
