"""Items and their stock: list, get, create, adjust."""

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import and_, case, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from answers import Problem, cursor_after, cursor_read, success
from auth import Caller, allowed
from database import reading, writing
from tables import Event, Item, Movement

router = APIRouter()
Reads = Annotated[Caller, allowed("inventory.items.read")]
Writes = Annotated[Caller, allowed("inventory.items.write")]
Adjusts = Annotated[Caller, allowed("inventory.items.adjust")]
Reason = Literal["opening", "received", "sold", "consumed", "returned", "damaged", "counted"]
Policy = Literal["deny", "warn", "allow"]
MOST = 1_000_000_000_000_000


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)


class CreateItem(Body):
    sku: str = Field(min_length=1, max_length=64)
    name: str = Field(min_length=1, max_length=200)
    description: str | None = Field(None, min_length=1, max_length=2000)
    unit: str = Field("piece", min_length=1, max_length=32)
    low_stock_level: int | None = Field(None, ge=0, alias="lowStockLevel")
    unit_cost: int | None = Field(None, ge=0, alias="unitCost")
    negative_stock: Policy | None = Field(None, alias="negativeStock")


class AdjustItem(Body):
    delta: int = Field(ge=-MOST, le=MOST)
    reason: Reason
    note: str | None = Field(None, min_length=1, max_length=500)
    amount: int | None = None
    reference: str | None = Field(None, min_length=1, max_length=200)


def view(item: Item) -> dict[str, Any]:
    return {
        "id": str(item.id),
        "sku": item.sku,
        "name": item.name,
        "description": item.description,
        "unit": item.unit,
        "quantity": item.quantity,
        "reserved": item.reserved,
        "available": item.quantity - item.reserved,
        "lowStockLevel": item.low_stock_level,
        "unitCost": item.unit_cost,
        "negativeStock": item.negative_stock,
        "version": item.version,
        "createdAt": item.created_at,
        "updatedAt": item.updated_at,
        "deletedAt": item.deleted_at,
    }


def event(request: Request, caller: Caller, now: datetime, kind: str, item: Item, data: dict[str, Any]) -> Event:
    return Event(
        id=uuid.uuid4(),
        tenant_id=caller.tenant,
        kind=kind,
        subject=str(item.id),
        subject_version=item.version,
        actor=caller.actor,
        request_id=request.state.request_id,
        correlation_id=request.state.correlation_id,
        occurred_at=now,
        data=orjson.dumps(data).decode(),
        reason=None,
    )


@router.get("/api/inventory")
async def list_items(
    request: Request,
    caller: Reads,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    sort: Literal["name"] = "name",
    cursor: str | None = None,
) -> Response:
    query = select(Item).where(Item.tenant_id == caller.tenant, Item.deleted_at.is_(None))
    if cursor is not None:
        query = query.where(tuple_(Item.name, Item.id) > cursor_read(cursor))
    async with reading() as session:
        rows = (await session.scalars(query.order_by(Item.name, Item.id).limit(limit + 1))).all()
    items = rows[:limit]
    following = cursor_after(items[-1].name, items[-1].id) if len(rows) > limit else None
    return success(request, {"items": [view(item) for item in items], "next": following})


@router.get("/api/inventory/{id}")
async def get_item(request: Request, id: uuid.UUID, caller: Reads) -> Response:
    async with reading() as session:
        item = await session.scalar(
            select(Item).where(Item.tenant_id == caller.tenant, Item.id == id, Item.deleted_at.is_(None))
        )
    if item is None:
        raise Problem(404, "request.not_found", "there is no such thing here")
    return success(request, view(item), version=item.version)


@router.post("/api/inventory")
async def create_item(request: Request, body: CreateItem, caller: Writes) -> Response:
    now = datetime.now(UTC)
    item = Item(
        tenant_id=caller.tenant,
        id=uuid.uuid4(),
        sku=body.sku,
        name=body.name,
        description=body.description,
        unit=body.unit,
        quantity=0,
        low_stock_level=body.low_stock_level,
        short_since_version=None,
        reserved=0,
        unit_cost=body.unit_cost,
        negative_stock=body.negative_stock,
        created_at=now,
        created_by=caller.actor,
        version=1,
        updated_at=now,
        updated_by=caller.actor,
        deleted_at=None,
    )
    shown = view(item)
    try:
        async with writing.begin() as session:
            session.add_all([item, event(request, caller, now, "inventory.item.created", item, shown)])
    except IntegrityError as error:
        if "item_sku" in str(error.orig):
            raise Problem(409, "inventory.sku_taken", "another item has this SKU") from error
        raise
    response = success(request, shown, 201, item.version)
    response.headers["location"] = f"/api/inventory/{item.id}"
    return response


@router.post("/api/inventory/{id}/adjust")
async def adjust_item(request: Request, id: uuid.UUID, body: AdjustItem, caller: Adjusts) -> Response:
    if body.delta == 0:
        raise Problem(400, "request.invalid_body", "the body is not valid", [{"field": "delta", "message": "not 0"}])
    now = datetime.now(UTC)
    async with writing.begin() as session:
        item = await session.scalar(change(caller, id, body.delta, now))
        if item is None:
            found = await session.scalar(
                select(Item).where(Item.tenant_id == caller.tenant, Item.id == id, Item.deleted_at.is_(None))
            )
            if found is None:
                raise Problem(404, "request.not_found", "there is no such thing here")
            detail = f"there are {found.quantity} {found.unit} in stock, {-body.delta} would be needed"
            raise Problem(409, "inventory.insufficient_stock", detail)
        movement = Movement(
            tenant_id=caller.tenant,
            id=uuid.uuid4(),
            item_id=id,
            delta=body.delta,
            reason=body.reason,
            note=body.note,
            occurred_at=None,
            batch_id=None,
            amount=body.amount,
            reference=body.reference,
            reverses=None,
            created_at=now,
            created_by=caller.actor,
        )
        told = {
            "delta": body.delta,
            "reason": body.reason,
            "sku": item.sku,
            "quantity": item.quantity,
            "occurredAt": now,
            "amount": body.amount,
            "batchId": None,
            "reference": body.reference,
        }
        session.add_all([movement, event(request, caller, now, "inventory.item.adjusted", item, told)])
        if item.short_since_version == item.version:
            short = {"sku": item.sku, "quantity": item.quantity, "lowStockLevel": item.low_stock_level}
            session.add(event(request, caller, now, "inventory.item.low_stock", item, short))
    line = {
        "id": str(movement.id),
        "itemId": str(id),
        "delta": movement.delta,
        "reason": movement.reason,
        "note": movement.note,
        "occurredAt": now,
        "batchId": None,
        "amount": movement.amount,
        "reference": movement.reference,
        "reverses": None,
        "createdAt": now,
        "createdBy": caller.actor,
    }
    return success(request, {"item": view(item), "movement": line}, version=item.version)


def change(caller: Caller, id: uuid.UUID, delta: int, now: datetime):
    """Changes the stock where enough is left, and notes the version with which the item became short."""
    after = Item.quantity + delta
    available = after - Item.reserved
    tenth = case((Item.low_stock_level < 10, 1), else_=(Item.low_stock_level + 9) // 10)
    cases = [(or_(Item.low_stock_level.is_(None), available > Item.low_stock_level + tenth), None)]
    if delta < 0:
        short = and_(Item.short_since_version.is_(None), available <= Item.low_stock_level)
        cases.append((short, Item.version + 1))
    statement = update(Item).where(Item.tenant_id == caller.tenant, Item.id == id, Item.deleted_at.is_(None))
    if delta < 0:
        statement = statement.where(or_(available >= 0, Item.negative_stock.in_(["warn", "allow"])))
    return statement.values(
        quantity=after,
        short_since_version=case(*cases, else_=Item.short_since_version),
        version=Item.version + 1,
        updated_at=now,
        updated_by=caller.actor,
    ).returning(Item)
