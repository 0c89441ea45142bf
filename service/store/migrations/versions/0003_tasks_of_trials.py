"""The task of each trial: after a search its best rules are also tried on tasks it never saw."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column: until now every trial was on its job's task."""
    op.add_column("trials", sa.Column("task", sa.String(length=64), nullable=True))
    op.execute(
        "UPDATE trials SET task = (SELECT jobs.task FROM jobs WHERE jobs.id = trials.job_id)"
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_column("trials", "task")
