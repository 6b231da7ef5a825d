"""Trained models: their sealed files, the job that made them, one active for each property.

Revision: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ALL_BUT_NEWEST = """
UPDATE ml_model_registry SET is_active = false
WHERE is_active AND EXISTS (
    SELECT 1 FROM ml_model_registry AS newer
    WHERE newer.is_active
      AND newer.model_type = ml_model_registry.model_type
      AND newer.target = ml_model_registry.target
      AND (newer.created_at > ml_model_registry.created_at
           OR (newer.created_at = ml_model_registry.created_at
               AND newer.id > ml_model_registry.id))
)
"""


def upgrade() -> None:
    op.execute(_ALL_BUT_NEWEST)
    with op.batch_alter_table("ml_model_registry", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "files", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
            )
        )
        batch_op.add_column(sa.Column("job_id", sa.Uuid(), nullable=True))
        batch_op.create_foreign_key(
            batch_op.f("fk_ml_model_registry_job_id_jobs"),
            "jobs",
            ["job_id"],
            ["id"],
            ondelete="SET NULL",
        )
        batch_op.create_index(batch_op.f("ix_ml_model_registry_job_id"), ["job_id"], unique=False)
        batch_op.create_index(
            "uq_ml_model_registry_active",
            ["model_type", "target"],
            unique=True,
            sqlite_where=sa.text("is_active"),
            postgresql_where=sa.text("is_active"),
        )


def downgrade() -> None:
    with op.batch_alter_table("ml_model_registry", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_ml_model_registry_active",
            sqlite_where=sa.text("is_active"),
            postgresql_where=sa.text("is_active"),
        )
        batch_op.drop_index(batch_op.f("ix_ml_model_registry_job_id"))
        batch_op.drop_constraint(batch_op.f("fk_ml_model_registry_job_id_jobs"), type_="foreignkey")
        batch_op.drop_column("job_id")
        batch_op.drop_column("files")
