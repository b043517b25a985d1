// A small program as somebody would write it with the generated types: signs in, makes an item, lists,
// adjusts, and meets problems. Every type comes from the document; there is no cast.

import createClient, { type Client } from 'openapi-fetch';

import type { components, paths } from './api.js';

type Item = components['schemas']['Item'];
type Problem = components['schemas']['Problem'];
type Check = (name: string, work: () => Promise<void>) => Promise<void>;

/** Returns what was given, or throws what is wrong. */
function must<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  if (answer.data === undefined) throw new Error(`${answer.response.status}: ${JSON.stringify(answer.error)}`);
  return answer.data;
}

function same<T>(what: string, actual: T, expected: T): void {
  if (actual !== expected) throw new Error(`${what} is ${String(actual)}, not ${String(expected)}`);
}

/** Returns the problem in an error, whichever shape its route has. */
function problemIn(error: Problem | components['schemas']['ShapedProblem'] | undefined): Problem {
  if (error === undefined) throw new Error('there is no problem');
  return 'error' in error ? error.error : error;
}

export async function run(given: { base: string; code: string }, check: Check): Promise<void> {
  const api: Client<paths> = createClient<paths>({ baseUrl: given.base });
  let token = '';
  api.use({
    onRequest({ request }) {
      if (token !== '') request.headers.set('authorization', `Bearer ${token}`);
      return request;
    },
  });
  let item: Item | undefined;
  const made = (): Item => {
    if (item === undefined) throw new Error('no item was made');
    return item;
  };

  await check('a problem says who may not', async () => {
    const { error, response } = await api.GET('/api/auth/me');
    same('the status', response.status, 401);
    same('the code', error?.code, 'request.unauthenticated');
  });
  await check('signs in with a code', async () => {
    const signedIn: components['schemas']['SignedIn'] = must(await api.POST('/api/auth/login', { body: { code: given.code } }));
    token = signedIn.accessToken;
    same('the type', signedIn.tokenType, 'Bearer');
    const me = must(await api.GET('/api/auth/me'));
    same('who it is', JSON.stringify(me).includes(signedIn.user.id), true);
  });
  await check('makes an item', async () => {
    const answer = must(await api.POST('/api/inventory', { body: { sku: `TS-${Date.now()}`, name: 'A typed thing', lowStockLevel: 2 } }));
    same('success', answer.success, true);
    item = answer.data;
    same('its name', item.name, 'A typed thing');
  });
  await check('lists', async () => {
    const page = must(await api.GET('/api/inventory', { params: { query: { limit: 50 } } }));
    const found: Item | undefined = page.data.items.find((one) => one.id === made().id);
    same('the item in the list', found?.sku, made().sku);
  });
  await check('adjusts', async () => {
    const body: components['schemas']['AdjustItem'] = { delta: 7, reason: 'received' };
    must(await api.POST('/api/inventory/{id}/adjust', { params: { path: { id: made().id } }, body }));
    const now = must(await api.GET('/api/inventory/{id}', { params: { path: { id: made().id } } }));
    same('the quantity', JSON.stringify(now.data.quantity), '7');
  });
  await check('a problem in the shape of its group', async () => {
    const body = { delta: -8, reason: 'sold' } as const;
    const { error, response } = await api.POST('/api/inventory/{id}/adjust', { params: { path: { id: made().id } }, body });
    same('the status', response.status, 409);
    same('it has a code', problemIn(error).code.startsWith('inventory.'), true);
  });
  await check('the same problem, plain', async () => {
    const { error } = await api.GET('/api/inventory/{id}', {
      params: { path: { id: 'itm_00000000000000000000000000' } },
      headers: { accept: 'application/problem+json' },
    });
    const problem = problemIn(error);
    same('the status', problem.status, 404);
    same('the code', problem.code, 'request.not_found');
  });
  await check('deletes', async () => {
    must(await api.DELETE('/api/inventory/{id}', { params: { path: { id: made().id }, query: { force: true } } }));
    const { response } = await api.GET('/api/inventory/{id}', { params: { path: { id: made().id } } });
    same('afterwards', response.status, 404);
  });
}
