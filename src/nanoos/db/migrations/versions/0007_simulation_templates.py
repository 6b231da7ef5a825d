"""Templates of simulations.

Revision: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    document = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.create_table(
        "simulation_templates",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("description", sa.String(length=1000), nullable=False),
        sa.Column("engine", sa.String(length=50), nullable=False),
        sa.Column("workflow", sa.String(length=50), nullable=False),
        sa.Column("parameters", document, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["users.id"],
            name=op.f("fk_simulation_templates_owner_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_simulation_templates")),
        sa.UniqueConstraint("name", name=op.f("uq_simulation_templates_name")),
    )
    with op.batch_alter_table("simulation_templates", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_simulation_templates_owner_id_created_at"),
            ["owner_id", "created_at"],
            unique=False,
        )


def downgrade() -> None:
    with op.batch_alter_table("simulation_templates", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_simulation_templates_owner_id_created_at"))

    op.drop_table("simulation_templates")
