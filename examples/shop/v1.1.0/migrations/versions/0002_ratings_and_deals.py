"""Ratings and deals."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
phase = "expand"


def upgrade() -> None:
    deals = op.create_table(
        "deals",
        sa.Column("product_id", sa.Integer, sa.ForeignKey("products.id"), primary_key=True),
        sa.Column("percent_off", sa.Integer, nullable=False),
    )
    op.bulk_insert(deals, [{"product_id": 2, "percent_off": 10}, {"product_id": 4, "percent_off": 25}])
    # Last, because from here to the end of the transaction nobody can read the products.
    op.add_column("products", sa.Column("rating", sa.Float, nullable=True))


def downgrade() -> None:
    op.drop_table("deals")
    op.drop_column("products", "rating")
