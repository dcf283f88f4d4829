"""First version: studies, candidates, trials, evaluations, measurements, estimates, artefacts, events."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

# Spelled out here and not imported from the models: this version stays as it was when they change.
TIME_UTC = sa.DateTime(timezone=True)
JSON_OBJECT = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "candidates",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("spec", JSON_OBJECT, nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("params", sa.BigInteger()),
        sa.Column("flops", sa.BigInteger()),
        sa.CheckConstraint("flops >= 0", name=op.f("ck_candidates_flops_not_negative")),
        sa.CheckConstraint("params >= 0", name=op.f("ck_candidates_params_not_negative")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_candidates")),
    )
    op.create_table(
        "environments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("data", JSON_OBJECT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environments")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_environments_fingerprint")),
    )
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", TIME_UTC, nullable=False),
        sa.Column("target_latency_ms", sa.Double()),
        sa.Column("settings", JSON_OBJECT, nullable=False),
        sa.Column("driver_owner", sa.String(length=300)),
        sa.CheckConstraint("target_latency_ms > 0", name=op.f("ck_studies_target_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("name", name=op.f("uq_studies_name")),
    )
    op.create_table(
        "trials",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("candidate_key", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200)),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("created_at", TIME_UTC, nullable=False),
        sa.Column("started_at", TIME_UTC),
        sa.Column("finished_at", TIME_UTC),
        sa.Column("lease_owner", sa.String(length=300)),
        sa.Column("lease_expires_at", TIME_UTC),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(state = 'running') = (lease_owner IS NOT NULL)"
            " AND (lease_owner IS NULL) = (lease_expires_at IS NULL)",
            name=op.f("ck_trials_running_has_lease"),
        ),
        sa.CheckConstraint(
            "(state IN ('finished', 'infeasible', 'failed')) = (finished_at IS NOT NULL)",
            name=op.f("ck_trials_end_has_time"),
        ),
        sa.CheckConstraint(
            "(state IN ('infeasible', 'failed')) = (reason IS NOT NULL)",
            name=op.f("ck_trials_reason_says_why_not"),
        ),
        sa.CheckConstraint("kind IN ('fixed', 'sampled')", name=op.f("ck_trials_kind_known")),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'finished', 'infeasible', 'failed')",
            name=op.f("ck_trials_state_known"),
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_trials_attempts_not_negative")),
        sa.CheckConstraint("number >= 0", name=op.f("ck_trials_number_not_negative")),
        sa.ForeignKeyConstraint(["candidate_key"], ["candidates.key"], name=op.f("fk_trials_candidate_key")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_trials_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
        sa.UniqueConstraint("study_id", "candidate_key", name=op.f("uq_trials_study_id_candidate_key")),
        sa.UniqueConstraint("study_id", "number", name=op.f("uq_trials_study_id_number")),
    )
    op.create_index(op.f("ix_trials_study_id_state"), "trials", ["study_id", "state"])
    op.create_table(
        "artefacts",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME_UTC, nullable=False),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_artefacts_size_not_negative")),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_artefacts_trial_id")),
        sa.PrimaryKeyConstraint("hash", "trial_id", name=op.f("pk_artefacts")),
    )
    op.create_table(
        "estimates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME_UTC, nullable=False),
        sa.Column("quantity", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.Column("source", sa.String(length=300), nullable=False),
        sa.CheckConstraint("low <= value AND value <= high", name=op.f("ck_estimates_interval_ordered")),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_estimates_trial_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_estimates")),
    )
    op.create_index(op.f("ix_estimates_trial_id"), "estimates", ["trial_id"])
    op.create_table(
        "evaluations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("created_at", TIME_UTC, nullable=False),
        sa.Column("ap", sa.Double()),
        sa.Column("ap50", sa.Double()),
        sa.Column("figures", JSON_OBJECT, nullable=False),
        sa.Column("protocol", JSON_OBJECT, nullable=False),
        sa.Column("artefact_hash", sa.String(length=64)),
        sa.Column("seconds", sa.Double()),
        sa.Column("epochs", sa.Double()),
        sa.CheckConstraint(
            "origin <> 'deployed' OR artefact_hash IS NOT NULL",
            name=op.f("ck_evaluations_deployed_has_artefact"),
        ),
        sa.CheckConstraint(
            "origin IN ('published', 'estimated', 'shared', 'trained', 'deployed')",
            name=op.f("ck_evaluations_origin_known"),
        ),
        sa.CheckConstraint("ap BETWEEN 0 AND 1", name=op.f("ck_evaluations_ap_in_range")),
        sa.CheckConstraint("ap50 BETWEEN 0 AND 1", name=op.f("ck_evaluations_ap50_in_range")),
        sa.CheckConstraint("epochs >= 0", name=op.f("ck_evaluations_epochs_not_negative")),
        sa.CheckConstraint("seconds >= 0", name=op.f("ck_evaluations_seconds_not_negative")),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_evaluations_trial_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
    )
    op.create_index(op.f("ix_evaluations_trial_id"), "evaluations", ["trial_id"])
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer()),
        sa.Column("at", TIME_UTC, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_events_study_id")),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_events_trial_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_study_id_id"), "events", ["study_id", "id"])
    op.create_index(op.f("ix_events_trial_id"), "events", ["trial_id"])
    op.create_table(
        "measurements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("evaluation_id", sa.Integer()),
        sa.Column("rung", sa.String(length=16), nullable=False),
        sa.Column("created_at", TIME_UTC, nullable=False),
        sa.Column("median_ms", sa.Double(), nullable=False),
        sa.Column("low_ms", sa.Double(), nullable=False),
        sa.Column("high_ms", sa.Double(), nullable=False),
        sa.Column("p99_ms", sa.Double(), nullable=False),
        sa.Column("samples_ms", JSON_OBJECT, nullable=False),
        sa.Column("workload", JSON_OBJECT, nullable=False),
        sa.Column("environment_id", sa.Integer(), nullable=False),
        sa.Column("artefact_hash", sa.String(length=64)),
        sa.CheckConstraint(
            "rung <> 'deployed' OR artefact_hash IS NOT NULL",
            name=op.f("ck_measurements_deployed_has_artefact"),
        ),
        sa.CheckConstraint("rung IN ('untrained', 'deployed')", name=op.f("ck_measurements_rung_known")),
        sa.CheckConstraint(
            "median_ms > 0 AND low_ms > 0 AND low_ms <= median_ms AND median_ms <= high_ms"
            " AND p99_ms >= median_ms",
            name=op.f("ck_measurements_latency_positive_and_ordered"),
        ),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_measurements_environment_id")
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_measurements_evaluation_id")
        ),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_measurements_trial_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measurements")),
    )
    op.create_index(op.f("ix_measurements_trial_id"), "measurements", ["trial_id"])
