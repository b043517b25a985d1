// Items and their stock: list, get, create, adjust.

import { randomUUID } from 'node:crypto';
import { Ajv } from 'ajv';
import express from 'express';
import { Problem, success } from './answers.mjs';
import { allowed } from './auth.mjs';
import { pool, transaction } from './database.mjs';

const MOST = 1_000_000_000_000_000;
const COLUMNS = 'id, sku, name, description, unit, quantity, reserved, low_stock_level, unit_cost,' +
  ' negative_stock, version, created_at, updated_at, deleted_at';
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

const ajv = new Ajv({ allErrors: true });
const validCreate = ajv.compile({
  type: 'object',
  properties: {
    sku: { type: 'string', minLength: 1, maxLength: 64 },
    name: { type: 'string', minLength: 1, maxLength: 200 },
    description: { type: ['string', 'null'], minLength: 1, maxLength: 2000 },
    unit: { type: 'string', minLength: 1, maxLength: 32 },
    lowStockLevel: { type: ['integer', 'null'], minimum: 0 },
    unitCost: { type: ['integer', 'null'], minimum: 0 },
    negativeStock: { enum: ['deny', 'warn', 'allow', null] },
  },
  required: ['sku', 'name'],
  additionalProperties: false,
});
const validAdjust = ajv.compile({
  type: 'object',
  properties: {
    delta: { type: 'integer', minimum: -MOST, maximum: MOST, not: { const: 0 } },
    reason: { enum: ['opening', 'received', 'sold', 'consumed', 'returned', 'damaged', 'counted'] },
    note: { type: ['string', 'null'], minLength: 1, maxLength: 500 },
    amount: { type: ['integer', 'null'] },
    reference: { type: ['string', 'null'], minLength: 1, maxLength: 200 },
  },
  required: ['delta', 'reason'],
  additionalProperties: false,
});

function check(valid, body) {
  if (valid(body)) return;
  const errors = valid.errors.map((each) => ({ field: each.instancePath.slice(1), message: each.message }));
  throw new Problem(400, 'request.invalid_body', 'the body is not valid', errors);
}

const notFound = () => new Problem(404, 'request.not_found', 'there is no such thing here');

function itemId(request) {
  if (!UUID.test(request.params.id)) throw new Problem(400, 'request.invalid_path', 'this is not an id');
  return request.params.id;
}

function view(row) {
  return {
    id: row.id,
    sku: row.sku,
    name: row.name,
    description: row.description,
    unit: row.unit,
    quantity: row.quantity,
    reserved: row.reserved,
    available: row.quantity - row.reserved,
    lowStockLevel: row.low_stock_level,
    unitCost: row.unit_cost,
    negativeStock: row.negative_stock,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    deletedAt: row.deleted_at,
  };
}

function cursorRead(text) {
  try {
    const [name, id] = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (typeof name === 'string' && UUID.test(id)) return [name, id];
  } catch {
    // Not JSON: refused below.
  }
  throw new Problem(400, 'request.invalid_cursor', 'this cursor is not valid here');
}

const FIRST = {
  name: 'first_page',
  text: `SELECT ${COLUMNS} FROM item WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY name, id LIMIT $2`,
};
const NEXT = {
  name: 'next_page',
  text: `SELECT ${COLUMNS} FROM item WHERE tenant_id = $1 AND deleted_at IS NULL AND (name, id) > ($3, $4)
         ORDER BY name, id LIMIT $2`,
};

async function list(request, response) {
  const { limit: text = '50', sort = 'name', cursor } = request.query;
  const limit = Number(text);
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= 200) || sort !== 'name') {
    throw new Problem(400, 'request.invalid_query', 'the query is not valid');
  }
  const { rows } =
    cursor === undefined
      ? await pool.query({ ...FIRST, values: [request.caller.tenant, limit + 1] })
      : await pool.query({ ...NEXT, values: [request.caller.tenant, limit + 1, ...cursorRead(cursor)] });
  const more = rows.length > limit;
  if (more) rows.length = limit;
  const last = rows.at(-1);
  const next = more ? Buffer.from(JSON.stringify([last.name, last.id])).toString('base64url') : null;
  success(request, response, { items: rows.map(view), next });
}

const GET = {
  name: 'get_item',
  text: `SELECT ${COLUMNS} FROM item WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL`,
};

async function get(request, response) {
  const { rows } = await pool.query({ ...GET, values: [request.caller.tenant, itemId(request)] });
  if (rows.length === 0) throw notFound();
  success(request, response, view(rows[0]), rows[0].version);
}

const EVENT = {
  name: 'event',
  text: `INSERT INTO event (id, tenant_id, kind, subject, subject_version, actor, request_id, correlation_id,
         occurred_at, data) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
};

function record(client, request, now, kind, row, data) {
  const { tenant, actor } = request.caller;
  const values = [randomUUID(), tenant, kind, row.id, row.version, actor, request.requestId, request.correlationId];
  return client.query({ ...EVENT, values: [...values, now, JSON.stringify(data)] });
}

const CREATE = {
  name: 'create_item',
  text: `INSERT INTO item (tenant_id, id, sku, name, description, unit, quantity, low_stock_level, unit_cost,
         negative_stock, created_at, created_by, version, updated_at, updated_by)
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, $10, $11, 1, $10, $11)
         RETURNING ${COLUMNS}`,
};

async function create(request, response) {
  const { body, caller } = request;
  check(validCreate, body);
  const now = new Date();
  const described = [body.sku, body.name, body.description ?? null, body.unit ?? 'piece'];
  const kept = [body.lowStockLevel ?? null, body.unitCost ?? null, body.negativeStock ?? null];
  const values = [caller.tenant, randomUUID(), ...described, ...kept, now, caller.actor];
  try {
    const item = await transaction(async (client) => {
      const { rows } = await client.query({ ...CREATE, values });
      await record(client, request, now, 'inventory.item.created', rows[0], view(rows[0]));
      return rows[0];
    });
    response.status(201).set('location', `/api/inventory/${item.id}`);
    success(request, response, view(item), item.version);
  } catch (error) {
    if (error.constraint === 'item_sku') throw new Problem(409, 'inventory.sku_taken', 'another item has this SKU');
    throw error;
  }
}

// Changes the stock where enough is left, and notes the version with which the item became short.
const CHANGE = {
  name: 'change_item',
  text: `UPDATE item SET quantity = quantity + $3, version = version + 1, updated_at = $4, updated_by = $5,
           short_since_version = CASE
             WHEN low_stock_level IS NULL OR quantity + $3 - reserved > low_stock_level
               + CASE WHEN low_stock_level < 10 THEN 1 ELSE (low_stock_level + 9) / 10 END THEN NULL
             WHEN $3 < 0 AND short_since_version IS NULL AND quantity + $3 - reserved <= low_stock_level
               THEN version + 1
             ELSE short_since_version END
         WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL
           AND ($3 >= 0 OR quantity + $3 - reserved >= 0 OR negative_stock IN ('warn', 'allow'))
         RETURNING ${COLUMNS}, short_since_version`,
};
const MOVE = {
  name: 'move',
  text: `INSERT INTO movement (tenant_id, id, item_id, delta, reason, note, amount, reference, created_at, created_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
};

async function adjust(request, response) {
  const { body, caller } = request;
  const id = itemId(request);
  check(validAdjust, body);
  const { delta, reason } = body;
  const { note = null, amount = null, reference = null } = body;
  const [now, movementId] = [new Date(), randomUUID()];
  const item = await transaction(async (client) => {
    const { rows } = await client.query({ ...CHANGE, values: [caller.tenant, id, delta, now, caller.actor] });
    if (rows.length === 0) {
      const found = await client.query({ ...GET, values: [caller.tenant, id] });
      if (found.rows.length === 0) throw notFound();
      const [{ quantity, unit }] = found.rows;
      const detail = `there are ${quantity} ${unit} in stock, ${-delta} would be needed`;
      throw new Problem(409, 'inventory.insufficient_stock', detail);
    }
    const [row] = rows;
    const said = [delta, reason, note, amount, reference];
    await client.query({ ...MOVE, values: [caller.tenant, movementId, id, ...said, now, caller.actor] });
    const state = { sku: row.sku, quantity: row.quantity };
    const told = { delta, reason, ...state, occurredAt: now, amount, batchId: null, reference };
    await record(client, request, now, 'inventory.item.adjusted', row, told);
    if (row.short_since_version === row.version) {
      const short = { sku: row.sku, quantity: row.quantity, lowStockLevel: row.low_stock_level };
      await record(client, request, now, 'inventory.item.low_stock', row, short);
    }
    return row;
  });
  const said = { delta, reason, note, occurredAt: now, batchId: null, amount, reference, reverses: null };
  const movement = { id: movementId, itemId: id, ...said, createdAt: now, createdBy: caller.actor };
  success(request, response, { item: view(item), movement }, item.version);
}

export const items = express.Router();
items.get('/api/inventory', allowed('inventory.items.read'), list);
items.get('/api/inventory/:id', allowed('inventory.items.read'), get);
items.post('/api/inventory', allowed('inventory.items.write'), create);
items.post('/api/inventory/:id/adjust', allowed('inventory.items.adjust'), adjust);
