// What the document forbids: each line marked so has to be refused by the compiler, and no other.

import createClient from 'openapi-fetch';

import type { components, paths } from './api.js';

const api = createClient<paths>({ baseUrl: '' });

export async function wrong(): Promise<void> {
  await api.GET('/api/nowhere'); // wrong
  await api.POST('/api/inventory', { body: { name: 'without its sku' } }); // wrong
  await api.POST('/api/inventory', { body: { sku: 1, name: 'a number' } }); // wrong
  await api.GET('/api/inventory', { params: { query: { limit: 'many' } } }); // wrong
  await api.POST('/api/inventory/{id}/adjust', { params: { path: {} }, body: { delta: 1 } }); // wrong
  const reason: components['schemas']['Reason'] = 'no such reason'; // wrong
  const { data } = await api.GET('/api/inventory');
  console.log(reason, data?.data.things); // wrong
}
