"""The tables, as SQLAlchemy maps them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime, Identity, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {int: BigInteger, str: Text, datetime: DateTime(timezone=True)}


class ApiToken(Base):
    __tablename__ = "api_token"

    hash: Mapped[bytes] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    actor: Mapped[str]
    permissions: Mapped[list[str]] = mapped_column(ARRAY(Text))
    expires_at: Mapped[datetime]


class Item(Base):
    __tablename__ = "item"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    sku: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    unit: Mapped[str]
    quantity: Mapped[int]
    low_stock_level: Mapped[int | None]
    short_since_version: Mapped[int | None]
    reserved: Mapped[int]
    unit_cost: Mapped[int | None]
    negative_stock: Mapped[str | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    version: Mapped[int]
    updated_at: Mapped[datetime]
    updated_by: Mapped[str]
    deleted_at: Mapped[datetime | None]


class Movement(Base):
    __tablename__ = "movement"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    item_id: Mapped[UUID]
    delta: Mapped[int]
    reason: Mapped[str]
    note: Mapped[str | None]
    occurred_at: Mapped[datetime | None]
    batch_id: Mapped[UUID | None]
    amount: Mapped[int | None]
    reference: Mapped[str | None]
    reverses: Mapped[UUID | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class Event(Base):
    __tablename__ = "event"

    seq: Mapped[int] = mapped_column(Identity(), primary_key=True)
    id: Mapped[UUID]
    tenant_id: Mapped[UUID]
    kind: Mapped[str]
    subject: Mapped[str]
    subject_version: Mapped[int]
    actor: Mapped[str]
    request_id: Mapped[str]
    correlation_id: Mapped[str]
    occurred_at: Mapped[datetime]
    data: Mapped[str]
    reason: Mapped[str | None]
