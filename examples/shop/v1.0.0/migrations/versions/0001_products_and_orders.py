"""Products and orders."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
phase = "expand"


def upgrade() -> None:
    products = op.create_table(
        "products",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("price_cents", sa.Integer, nullable=False),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("product_id", sa.Integer, sa.ForeignKey("products.id"), nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("total_cents", sa.Integer, nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.bulk_insert(
        products,
        [
            {"name": "Relay baton", "price_cents": 1490},
            {"name": "Running shoes", "price_cents": 11990},
            {"name": "Stopwatch", "price_cents": 2450},
            {"name": "Starting blocks", "price_cents": 8900},
            {"name": "Water bottle", "price_cents": 950},
        ],
    )


def downgrade() -> None:
    op.drop_table("orders")
    op.drop_table("products")
