"""From how many rows on a request goes to a version's native form."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Versions whose forms were never timed: no request does."""
    op.add_column("versions", sa.Column("native_from", sa.Integer(), nullable=False, server_default="0"))
