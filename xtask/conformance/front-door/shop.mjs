// json-server in the hands of axios, and what the door adds: rights, the cache, pages of other origins, limits. Not for
// json-server itself: what it answers directly is right.

import axios from 'axios';

import { alike, ask, check, expect, problem, same, told } from './checks.mjs';

const POWERED = ['x-powered-by'];

export async function shop(scene) {
  const { base, direct, taps, tokens } = scene;
  const origin = direct.shop;
  // The same Host both ways: json-server writes it into its answers.
  const host = { host: new URL(base).host };
  const both = async (path, more = {}) => {
    const through = await scene.get(path, more);
    return [through, await ask(origin, path, { ...more, headers: { ...host, ...more.headers } })];
  };
  taps.shop.forget();

  const reads = ['/products', '/products/2', '/products/99', '/products?colour=red', '/products?_sort=price&_order=desc', '/products?q=lan',
    '/products?_page=1&_limit=2', '/products?price_gte=2000&name_like=F%25', '/products?name=%C3%BC+%26', '/orders'];
  for (const path of reads) {
    await check(`shop: GET ${path} is the server's own answer`, async () => alike(...await both(path), POWERED));
  }
  await check('shop: addresses in Link lead through the door', async () => {
    const page = await scene.get('/products?_page=1&_limit=2');
    const next = page.headers.link.match(/<([^>]+)>; rel="next"/)[1];
    expect(next.startsWith(`${base}/products?`), `next is ${next}`);
    same('the next page', (await ask(base, next.slice(base.length), { token: tokens.alice })).json[0].id, 3);
    same('the total', page.headers['x-total-count'], '3');
  });
  await check('shop: HEAD is answered as GET without a body', async () => {
    const [head, get] = [await scene.get('/products/1', { method: 'HEAD' }), await scene.get('/products/1')];
    same('status and length', `${head.status} ${head.bytes.length} ${head.headers['content-length']}`, `200 0 ${get.bytes.length}`);
  });
  await check('shop: what the server boasts of is taken off', async () => {
    expect(!(await scene.get('/products/1')).headers['x-powered-by'], 'X-Powered-By is there');
  });
  await check('shop: If-None-Match with the ETag is 304, with another 200', async () => {
    const { headers } = await scene.get('/products/2');
    expect(headers.etag, 'there is no ETag');
    const same_ = await scene.get('/products/2', { headers: { 'if-none-match': headers.etag } });
    same('with the ETag', `${same_.status} ${same_.bytes.length}`, '304 0');
    same('with another', (await scene.get('/products/2', { headers: { 'if-none-match': 'W/"other"' } })).status, 200);
  });
  await check('shop: who cannot read gzip is not given what was kept for those who can', async () => {
    await ask(origin, '/products', { method: 'POST', body: { id: 900, name: 'x'.repeat(3000) } });
    for (let round = 0; round < 2; round += 1) {
      const packed = await scene.get('/products/900', { headers: { 'accept-encoding': 'gzip' } });
      same('the coding', packed.headers['content-encoding'], 'gzip');
      alike(await scene.get('/products/900'), await ask(origin, '/products/900'), [...POWERED, 'etag']);
    }
    await ask(origin, '/products/900', { method: 'DELETE' });
  });
  await check('shop: what is kept is checked by its ETag before each use, and marked', async () => {
    await scene.get('/products/3');
    const again = await scene.get('/products/3');
    same('Cache-Status', again.headers['cache-status'].split('; ttl')[0], 'portico; fwd=stale; fwd-status=304');
    same('the server was asked with If-None-Match', taps.shop.requests().some(({ path, headers }) => path === '/products/3' && headers['if-none-match']), true);
  });

  const client = axios.create({ baseURL: base, headers: { Authorization: `Bearer ${tokens.alice}` }, validateStatus: () => true });
  let made;
  await check('shop: axios creates, and the list that was kept is void', async () => {
    const before = (await scene.get('/products')).json.length;
    made = await client.post('/products', { name: 'Würfel', price: 100, tags: ['ü', '"'] });
    same('the status', made.status, 201);
    same('Location', made.headers.location, `${base}/products/${made.data.id}`);
    same('the list', (await scene.get('/products')).json.length, before + 1);
  });
  for (const [verb, body] of [['put', { name: 'Cube', price: 5 }], ['patch', { price: 6 }]]) {
    await check(`shop: axios ${verb}s, and reads what it wrote`, async () => {
      const answer = await client[verb](`/products/${made.data.id}`, body);
      same('the status', answer.status, 200);
      const [through, itself] = await both(`/products/${made.data.id}`);
      alike(through, itself, POWERED);
      same('the price', through.json.price, body.price);
    });
  }
  await check('shop: axios deletes, and it is gone', async () => {
    same('the status', (await client.delete(`/products/${made.data.id}`)).status, 200);
    same('then', (await client.get(`/products/${made.data.id}`)).status, 404);
  });
  await check('shop: the server sees the tenant with every request and never the token', () => {
    const requests = taps.shop.requests();
    const tenant = requests[0].headers['x-tenant-id'];
    told(taps.shop, [tokens.alice], tenant);
    same('the hosts that the server was asked for', [...new Set(requests.map(({ headers }) => headers.host))].join(), host.host);
  });

  taps.shop.forget();
  await check('shop: a viewer may not write, and the server hears nothing of it', async () => {
    problem(await ask(base, '/products', { method: 'POST', token: tokens.albert, body: { name: 'x' } }), 403, 'request.forbidden');
    same('what came', taps.shop.requests().length, 0);
  });
  await check('shop: a body over the limit is 413, and nothing is made of it', async () => {
    const body = { name: 'x'.repeat(70_000) };
    problem(await ask(base, '/products', { method: 'POST', token: tokens.alice, body }), 413);
    same('what is there', (await ask(origin, '/products')).json.length, 3);
  });
  await check('shop: a foreign token, a changed one and one for somebody else are 401', async () => {
    for (const token of ['x', `${tokens.alice.slice(0, -4)}AAAA`, tokens.alice.replace(/^[^.]+/, 'eyJhbGciOiJub25lIn0')]) {
      problem(await ask(base, '/products', { token }), 401);
    }
  });
  await check('shop: a client cannot say which tenant it is', async () => {
    taps.shop.forget();
    const headers = { 'x-tenant-id': 'forged', 'x-user-id': 'forged', 'x-user-role': 'forged' };
    same('the status', (await scene.get('/products?whose', { headers })).status, 200);
    expect(!taps.shop.text().includes('forged'), 'the server was shown what the client wrote');
    // As hop-by-hop it would be taken off on the way; that is refused.
    const taken = await scene.get('/products?whose', { headers: { connection: 'close, x-tenant-id' } });
    same('with x-tenant-id as an option of the connection', taken.status, 400);
    told(taps.shop, [tokens.alice], taps.shop.requests()[0].headers['x-tenant-id']);
  });
  await check('shop: two tenants are two tenants to the server, and share nothing that is kept', async () => {
    taps.shop.forget();
    await scene.get('/products?tenants');
    const other = await ask(base, '/products?tenants', { token: tokens.greta });
    same('Cache-Status', other.headers['cache-status'].split('; ttl')[0], 'portico; fwd=uri-miss');
    same('tenants', new Set(taps.shop.requests().map(({ headers }) => headers['x-tenant-id'])).size, 2);
  });

  const page = { origin: 'https://app.example' };
  await check('shop: a preflight of a known page is answered without a token', async () => {
    taps.shop.forget();
    const headers = { ...page, 'access-control-request-method': 'PUT', 'access-control-request-headers': 'authorization,content-type' };
    const answer = await ask(base, '/products/1', { method: 'OPTIONS', headers });
    same('the status', answer.status, 204);
    same('the origin', answer.headers['access-control-allow-origin'], page.origin);
    expect(answer.headers['access-control-allow-methods'].includes('PUT'), 'PUT is not among the methods');
    same('what came to the server', taps.shop.requests().length, 0);
  });
  await check('shop: a known page may read the answer, by the word of the door alone', async () => {
    const answer = await scene.get('/products/1', { headers: page });
    const fields = answer.raw.filter((_, place) => place % 2 === 0).map((name) => name.toLowerCase());
    same('how often it is said', fields.filter((name) => name === 'access-control-allow-origin').length, 1);
    same('the origin', answer.headers['access-control-allow-origin'], page.origin);
  });
  await check('shop: a foreign page may not, whatever the server says', async () => {
    const answer = await scene.get('/products/1', { headers: { origin: 'https://evil.example' } });
    same('the origin', answer.headers['access-control-allow-origin'], undefined);
  });

  await check('shop: the 31st order of an hour is 429, and the server has seen 30', async () => {
    taps.shop.forget();
    const statuses = [];
    let last;
    for (let number = 0; number < 33; number += 1) {
      last = await ask(base, '/orders', { method: 'POST', token: tokens.alice, body: { number } });
      statuses.push(last.status);
    }
    same('the answers', statuses.join(' '), [...Array(30).fill(201), 429, 429, 429].join(' '));
    same('what came to the server', taps.shop.requests().length, 30);
    problem(last, 429, 'gateway.rate_limited');
    expect(Number(last.headers['retry-after']) > 0, `Retry-After is ${last.headers['retry-after']}`);
    expect(/orders/.test(last.headers['ratelimit']), `RateLimit is ${last.headers['ratelimit']}`);
  });
  await check('shop: that is nobody else\'s limit', async () => {
    for (const token of [tokens.albert, tokens.greta, tokens.api]) {
      same('the status', (await ask(base, '/orders', { method: 'POST', token, body: { number: 0 } })).status, 201);
    }
    same('reads of the same user', (await scene.get('/orders')).status, 200);
  });
}
