// npm's eventsource through the door: nothing waits in a buffer, nothing is lost. Not for the source: sse-channel is what
// it is.

import { EventSource } from 'eventsource';

import { ask, check, eventually, expect, problem, same, told } from './checks.mjs';

/** Opens a stream and writes down what comes. */
export function listen(scene, token) {
  const source = new EventSource(`${scene.base}/events`, {
    fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } }),
  });
  const seen = [];
  source.addEventListener('tick', (event) => seen.push({ id: Number(event.lastEventId), data: event.data }));
  return { source, seen };
}

/** Has the source send something. */
export async function post(base, data, token) {
  const answer = await ask(base, '/events', { method: 'POST', token, body: Buffer.from(data), headers: { 'content-type': 'text/plain' } });
  same('the status of the post', answer.status, 202);
  return answer.json.id;
}

export async function events(scene) {
  const { base, direct, taps, tokens } = scene;
  taps.ticker.forget();
  await check('events: without a token there is no stream', async () => problem(await ask(base, '/events'), 401));
  const { source, seen } = listen(scene, tokens.alice);
  const has = (data) => eventually(`the event ${data.slice(0, 20)}`, () => seen.find((event) => event.data === data));
  await check('events: the stream opens before anything is sent', () => eventually('it is open', () => source.readyState === source.OPEN));
  await check('events: each of 100 events arrives before the next one is sent', async () => {
    for (let number = 0; number < 100; number += 1) {
      await post(base, `one ${number}`, tokens.alice);
      await has(`one ${number}`);
    }
  });
  await check('events: an event of 200 kB arrives whole', async () => {
    const data = 'ü'.repeat(100_000);
    await post(direct.ticker, data);
    await has(data);
  });
  await check('events: the stream breaks, the client comes back with Last-Event-ID, and nothing is missing or twice', async () => {
    for (let round = 0; round < 3; round += 1) {
      taps.ticker.cut();
      for (let number = 0; number < 20; number += 1) await post(direct.ticker, `gap ${round} ${number}`);
      await has(`gap ${round} 19`);
    }
    const ids = seen.map((event) => event.id);
    same('the ids', ids.join(), ids.map((_, place) => ids[0] + place).join());
    const again = taps.ticker.requests().filter(({ headers }) => headers['last-event-id']);
    expect(again.length >= 3, `the source was told Last-Event-ID ${again.length} times`);
  });
  await check('events: the source sees the tenant and never the token', () => {
    told(taps.ticker, [tokens.alice], taps.ticker.requests()[0].headers['x-tenant-id']);
  });
  await check('events: 20 listeners hear the same', async () => {
    const others = Array.from({ length: 20 }, (_, place) => listen(scene, place % 2 ? tokens.greta : tokens.api));
    await eventually('all are open', () => others.every((other) => other.source.readyState === 1));
    await post(direct.ticker, 'to all');
    await eventually('all have heard', () => others.every((other) => other.seen.some((event) => event.data === 'to all')));
    for (const other of others) other.source.close();
  });
  await check('events: the client goes, and the source knows at once', async () => {
    source.close();
    await eventually('no stream is left', () => taps.ticker.streaming() === 0);
  });
}
