"""The tables this version uses, and connections to them. The schema itself is made by migrations/."""

from sqlalchemy import Column, DateTime, Engine, ForeignKey, Integer, MetaData, String, Table, create_engine
from sqlalchemy.engine import URL

metadata = MetaData()

products = Table(
    "products",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(80), nullable=False),
    Column("price_cents", Integer, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("product_id", Integer, ForeignKey("products.id"), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("total_cents", Integer, nullable=False),
    Column("placed_at", DateTime(timezone=True), nullable=False),
)


def connect(url: URL, *, name: str, size: int, overflow: int, statement_seconds: int) -> Engine:
    """Return an engine with a pool of its own; nothing is opened before the first query."""
    arguments: dict[str, object] = {}
    if url.get_backend_name() == "postgresql":
        arguments = {
            "application_name": name,
            "connect_timeout": 2,
            # A database host that vanished without a word is noticed after 5 s instead of a quarter of an hour.
            "tcp_user_timeout": 5000,
            "options": f"-c statement_timeout={statement_seconds}s",
        }
    return create_engine(
        url,
        connect_args=arguments,
        pool_size=size,
        max_overflow=overflow,
        pool_timeout=statement_seconds,
        pool_pre_ping=True,
    )
