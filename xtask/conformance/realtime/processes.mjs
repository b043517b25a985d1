// Two server processes over one PostgreSQL, with Redis between them where there is one: what is
// written in one is heard in the other, and nothing is lost when Redis loses everything. Not for
// what one process does.

import { answered, check, eventually, expect, note, now, pause, same } from './checks.mjs';
import { Door, Person } from './door.mjs';
import { Listener, each } from './listener.mjs';
import { Redis } from './programs.mjs';
import { Client } from './sockets.mjs';

const SOON_MS = 2_000;
const WRITES = 300;

/** Runs the checks. */
export async function processes({ given }) {
  const { two } = given;
  if (!two) {
    note('two processes: skipped, because there is no PostgreSQL');
    return;
  }
  const redis = two.redis ? new Redis(two.redis) : undefined;
  if (redis) await redis.start();
  else note('Redis: skipped, because there is no redis-server');
  try {
    const [a, b] = two.bases.map((base) => new Door(base, two.operatorToken));
    const admin = new Person(a, two.signedIn);
    const staff = await admin.invite('two', 'staff');
    await across(two.bases, a, staff, admin);
    if (redis) await loss(two.bases, staff, redis);
    [a, b].forEach((door) => door.close());
  } finally {
    await redis?.stop();
  }
}

async function across([a, b], door, staff, admin) {
  const [socket, listener] = [await new Client(b, { token: await staff.token() }).ready(), await new Listener(b, { person: staff }).ready()];
  await check('two processes: what is written in one reaches a socket and a stream of the other', async () => {
    const item = await staff.createItem();
    const began = now();
    await eventually('the socket hears', () => {
      expect(socket.disconnects.length === 0, `the socket was closed: ${socket.disconnects[0]?.reason}`);
      return socket.about(item.id).length === 1;
    }, SOON_MS);
    await eventually('the stream hears', () => listener.about(item.id).length === 1, SOON_MS);
    same('how often the stream broke', listener.named('error').length, 0);
    note(`from one process to the other: ${Math.round(now() - began)} ms after the answer`);
  });
  await check('two processes: a stream goes on in the other with the id of this one', async () => {
    const item = await staff.createItem();
    const here = await new Listener(a, { person: staff, query: { subject: item.id } }).ready();
    await staff.adjust(item.id, 10);
    await eventually('the first', () => here.events().length === 1);
    const from = here.lastId();
    here.close();
    for (let number = 0; number < 20; number += 1) await staff.adjust(item.id, 1);
    const there = await new Listener(b, { person: staff, query: { subject: item.id }, from }).ready();
    const wanted = await staff.logged(item.id, from);
    await eventually('all', () => there.events().length >= wanted.length);
    each('events', there.events().map(({ event }) => event.id), wanted);
    expect(wanted.length >= 20, `only ${wanted.length} were wanted`);
    there.close();
  });
  await check('two processes: what is revoked in one ends socket and stream of the other within 2 s', async () => {
    const guest = await admin.invite('guest', 'staff');
    const token = guest.signedIn.accessToken;
    const theirs = await new Client(b, { token }, { reconnection: false }).ready();
    const stream = await new Listener(b, { person: { token: async () => token } }).ready();
    const began = now();
    answered(await admin.call('DELETE', `/api/v1/identity/members/${guest.signedIn.user.id}`), 200, 204);
    await eventually('both end', () => theirs.disconnects[0] && stream.brokenAt(), SOON_MS + 1_000);
    const took = Math.max(theirs.disconnects[0].at, stream.brokenAt()) - began;
    expect(took <= SOON_MS, `after ${took} ms`);
    note(`revoked in the other process: closed after ${Math.round(took)} ms`);
    stream.close();
  });
  [socket, listener].forEach((open) => open.close());
}

async function loss([, b], staff, redis) {
  const item = await staff.createItem();
  const listener = await new Listener(b, { person: staff, query: { subject: item.id } }).ready();
  const from = listener.lastId();
  const socket = await new Client(b, { token: await staff.token() }).ready();
  await check('Redis: it is in use, or flushing it proves nothing', async () => {
    // Our own connection is one of them; the servers come back by themselves, after a pause.
    const clients = async () => (await redis.say('CLIENT LIST')).split('\n').filter((line) => line.includes('addr='));
    await eventually('both servers are connected', async () => (await clients()).length >= 3, 65_000);
  });
  await check(`Redis: flushed, killed and restarted while ${WRITES} events are written: no gap, nothing twice`, async () => {
    for (let number = 0; number < WRITES; number += 1) {
      if (number === 60 || number === 240) await redis.say('FLUSHALL');
      if (number === 100) await redis.stop();
      if (number === 180) await redis.start();
      await staff.adjust(item.id, 1);
    }
    const wanted = await staff.logged(item.id, from);
    await eventually('the stream has all', () => listener.events().length >= wanted.length, 15_000);
    each('events', listener.events().map(({ event }) => event.id), wanted);
    expect(wanted.length >= WRITES, `only ${wanted.length} were wanted`);
    same('how often the stream broke', listener.named('error').length, 0);
  });
  await check('Redis: nor has the socket', async () => {
    await eventually('it has all', () => socket.about(item.id).length >= WRITES, 10_000);
    await pause(300);
    const versions = socket.about(item.id).map(({ data }) => data.version);
    each('updates', versions, Array.from({ length: WRITES }, (_, place) => versions[0] + place));
    same('resyncs', socket.named('resync').length, 0);
  });
  [listener, socket].forEach((open) => open.close());
}
