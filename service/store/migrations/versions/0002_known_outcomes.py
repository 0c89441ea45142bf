"""Outcomes that later jobs take over: the conditions and the behaviour they were found under."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, empty: what was tried before this version is tried again."""
    op.add_column("trials", sa.Column("conditions", sa.String(length=32), nullable=True))
    op.add_column("trials", sa.Column("behaviour", sa.String(length=32), nullable=True))
    op.create_index("ix_trials_known", "trials", ["conditions", "finished"], unique=False)


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_trials_known", table_name="trials")
    op.drop_column("trials", "behaviour")
    op.drop_column("trials", "conditions")
