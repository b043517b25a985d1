// One answer out of three servers, and what is left of it while one is dead. Not for how a composition is made.

import { deepStrictEqual } from 'node:assert';
import { readFileSync } from 'node:fs';

import { ask, check, eventually, expect, problem, same } from './checks.mjs';

export async function overview(scene) {
  const { base, direct, taps, tokens } = scene;
  const get = () => scene.get('/overview');
  const part = (answer, name) => answer.json[name];
  const degraded = (answer) => answer.headers['portico-degraded'];
  await check('overview: nobody without a token gets it', async () => problem(await ask(base, '/overview'), 401));
  await check('overview: its parts are the answers of the servers', async () => {
    const answer = await get();
    same(`the status (${answer.text.slice(0, 200)})`, answer.status, 200);
    const path = '/api/2.0/mlflow/experiments/search?max_results=100';
    const wanted = {
      products: (await ask(direct.shop, '/products?_sort=id')).json,
      first: (await ask(direct.shop, '/products/1')).json,
      experiments: (await ask(direct.mlflow, path)).json.experiments,
      news: (await ask(direct.files, '/news.json')).json,
    };
    for (const [name, value] of Object.entries(wanted)) deepStrictEqual(part(answer, name), value, `the part ${name} is another`);
    same('what it says of its state', degraded(answer), undefined);
  });
  await check('overview: a part is given to the letter, numbers beyond JavaScript\'s too', async () => {
    const answer = await get();
    const news = readFileSync('./example/site/news.json', 'utf8').trim();
    expect(news.includes('12345678901234567890.50'), 'news.json has no such number');
    expect(answer.text.includes(news), `the answer is ${answer.text.slice(0, 300)}`);
  });
  await check('overview: each server was told the caller\'s tenant, and no token', async () => {
    for (const name of ['shop', 'mlflow']) taps[name].forget();
    await get();
    for (const name of ['shop', 'mlflow']) {
      const asked = taps[name].requests().filter(({ headers }) => headers['x-request-id']);
      expect(asked.length > 0 && asked.every(({ headers }) => headers['x-tenant-id'] && !headers.authorization), `${name} was told something else`);
    }
  });

  await scene.kill('shop');
  await check('overview: with the shop dead the rest is there, and it says so', async () => {
    const answer = await get();
    same('the status', answer.status, 200);
    same('the state', degraded(answer), 'parts="first products"');
    same('the part', JSON.stringify(part(answer, 'products')), 'null');
    expect(part(answer, 'experiments').length > 0, 'the experiments are missing too');
    expect(JSON.stringify(answer.json.errors).includes('products'), 'errors does not name the part');
  });
  await check('breaker: after failures in a row the door no longer tries, and says when to come again', async () => {
    const codes = [];
    const open = await eventually('the circuit is open', async () => {
      const answer = await ask(base, `/orders?${codes.length}`, { token: tokens.alice });
      codes.push(answer.json?.code);
      return answer.json?.code === 'gateway.circuit_open' && answer;
    });
    problem(open, 503, 'gateway.circuit_open');
    expect(Number(open.headers['retry-after']) > 0, `Retry-After is ${open.headers['retry-after']}`);
    expect(codes.slice(0, -1).every((code) => ['gateway.upstream_unreachable', 'gateway.circuit_open'].includes(code)), `before it: ${codes.join()}`);
  });
  await check('breaker: other upstreams go on as ever', async () => {
    same('nginx', (await ask(base, '/files/news.json')).status, 200);
    same('MLflow', (await scene.get('/mlflow/version')).status, 200);
  });
  await scene.revive('shop');
  await check('breaker: with the shop back the circuit closes by itself, for both tenants', async () => {
    for (const token of [tokens.alice, tokens.greta]) {
      await eventually('an answer', async () => (await ask(base, '/orders', { token })).status === 200, 30_000);
    }
    await eventually('the overview is whole', async () => degraded(await get()) === undefined, 30_000);
  });
  await scene.kill('files');
  await check('overview: with nginx dead its part is the fallback', async () => {
    const answer = await get();
    same('the status', answer.status, 200);
    same('the part', JSON.stringify(part(answer, 'news')), '[]');
    same('the state', degraded(answer), 'parts="news"');
  });
  await scene.revive('files');
  taps.mlflow.cut();
  await taps.mlflow.close();
  await check('overview: without the part that it needs there is none, and the door says which', async () => {
    const answer = await get();
    problem(answer, 502, 'gateway.part_failed');
    expect(answer.text.includes('experiments'), `it says ${answer.text}`);
  });
  await taps.mlflow.open();
  await check('overview: and it is back with it', () => eventually('200', async () => (await get()).status === 200, 30_000));
}
