"""Features of structures.

Revision: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "structure_features",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("structure_id", sa.Uuid(), nullable=False),
        sa.Column("feature_version", sa.String(length=20), nullable=False),
        sa.Column("params_hash", sa.String(length=64), nullable=False),
        sa.Column("graph_repr", sa.String(length=64), nullable=False),
        sa.Column("graph_offset", sa.BigInteger(), nullable=False),
        sa.Column("graph_bytes", sa.BigInteger(), nullable=False),
        sa.Column("n_atoms", sa.Integer(), nullable=False),
        sa.Column("n_bonds", sa.Integer(), nullable=False),
        sa.Column(
            "scalar_features",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "extraction_params",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["structure_id"],
            ["structures.id"],
            name=op.f("fk_structure_features_structure_id_structures"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_structure_features")),
        sa.UniqueConstraint(
            "structure_id",
            "feature_version",
            "params_hash",
            name=op.f("uq_structure_features_structure_id_feature_version_params_hash"),
        ),
    )
    with op.batch_alter_table("structure_features", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_structure_features_graph_repr"), ["graph_repr"], unique=False
        )


def downgrade() -> None:
    with op.batch_alter_table("structure_features", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_structure_features_graph_repr"))

    op.drop_table("structure_features")
