"""Events carry values for programs beside their text; those of before have none."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("events") as events:
        events.add_column(sa.Column("data", sa.JSON().with_variant(JSONB(), "postgresql")))
