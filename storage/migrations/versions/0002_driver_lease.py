"""A driver holds its study by a lease; indexes from which the front is read without reading every row."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TIME_UTC = sa.DateTime(timezone=True)
LEASE = timedelta(seconds=120)


def upgrade() -> None:
    with op.batch_alter_table("studies") as studies:
        studies.add_column(sa.Column("driver_expires_at", TIME_UTC))
    # a driver that is at work right now gets one lease; it cannot renew it, so its study is free afterwards
    table = sa.table("studies", sa.column("driver_owner"), sa.column("driver_expires_at", TIME_UTC))
    held = table.update().where(table.c.driver_owner.is_not(None))
    op.execute(held.values(driver_expires_at=datetime.now(UTC) + LEASE))
    with op.batch_alter_table("studies") as studies:
        studies.create_check_constraint(
            op.f("ck_studies_driver_has_lease"), "(driver_owner IS NULL) = (driver_expires_at IS NULL)"
        )
    op.drop_index(op.f("ix_evaluations_trial_id"), "evaluations")
    op.create_index(op.f("ix_evaluations_trial_id_origin_ap"), "evaluations", ["trial_id", "origin", "ap"])
    op.create_index(
        op.f("ix_measurements_evaluation_id_median_ms"), "measurements", ["evaluation_id", "median_ms"]
    )
