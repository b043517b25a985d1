-- Ten thousand items and the opening lines of their ledger, the same as Portico's; who may use them.

INSERT INTO tenant VALUES ('01900000-0000-7000-a000-000000000000', 'An organisation');

INSERT INTO api_token
SELECT sha256('bench-inventory'), id, 'usr_01jm0000000000000000000000',
  ARRAY['inventory.items.read', 'inventory.items.write', 'inventory.items.adjust'], now() + interval '1 day'
FROM tenant;

INSERT INTO item (tenant_id, id, sku, name, description, unit, quantity, low_stock_level, created_at, created_by,
  version, updated_at, updated_by)
SELECT tenant.id, ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'sku-' || n,
  'Item number ' || lpad((n * 7919 % 10007)::text, 5, '0'), 'A thing on a shelf, number ' || n, 'piece', 1000000, 5,
  now(), 'usr_01jm0000000000000000000000', 2, now(), 'usr_01jm0000000000000000000000'
FROM tenant, generate_series(1, 10000) AS n;

INSERT INTO movement (tenant_id, id, item_id, delta, reason, created_at, created_by)
SELECT tenant_id, ('01900000-0000-7000-9000-' || right(id::text, 12))::uuid, id, quantity, 'opening', created_at,
  created_by
FROM item;

ANALYZE;
