// The event stream in the hands of npm's eventsource: who hears what, coming back without a gap,
// tickets, and the end of a credential. Not for sockets.

import { answered, check, eventually, expect, note, now, pause, same } from './checks.mjs';
import { Listener, each } from './listener.mjs';
import { Proxy } from './programs.mjs';

const STREAM = '/api/events/stream';
const MISSED = 200;
const CUTS = 4;
/** How soon a stream ends whose credential was taken back. */
const REVOKED_MS = 2_000;
/** Silence is broken at least this often: 20 s, and something for the machine. */
const HEARTBEAT_MS = 22_000;
/** Long enough for an event that must not come to have come. */
const NOTHING_MS = 700;

/** Runs the checks. */
export async function streams(scene) {
  const heartbeat = hearHeartbeat(scene);
  await live(scene);
  await audience(scene);
  await resume(scene);
  await elsewhere(scene);
  await tickets(scene);
  await revocation(scene);
  await check('stream: a comment breaks the silence, before 20 s are over', () => heartbeat);
}

async function live({ base, people: { staff } }) {
  const listener = new Listener(base, { person: staff });
  await check('stream: begins with ready, which says where the log is', async () => {
    await listener.ready();
    const ready = JSON.parse(listener.named('ready')[0].data);
    expect(/^[0-9A-Za-z-]+$/.test(ready.epoch) && Number.isInteger(ready.position), `ready says ${listener.named('ready')[0].data}`);
    same('the id', listener.named('ready')[0].id, `${ready.epoch}.${ready.position}`);
  });
  await check('stream: no cache and no proxy keeps it back', () => {
    const { headers } = listener.openings[0];
    same('the media type', headers.get('content-type')?.split(';')[0], 'text/event-stream');
    expect(headers.get('cache-control')?.includes('no-cache'), `Cache-Control is ${headers.get('cache-control')}`);
    same('X-Accel-Buffering', headers.get('x-accel-buffering'), 'no');
    same('Content-Encoding', headers.get('content-encoding'), null);
  });
  let item;
  await check('stream: what is created is heard at once, under its type', async () => {
    item = await staff.createItem();
    const { name, id, event } = await eventually('the event', () => listener.about(item.id)[0], 2_000);
    same('the name', name, 'inventory.item.created');
    same('the type', event.type, name);
    same('the sku', event.data.sku, item.sku);
    same('the id', id, `${JSON.parse(listener.named('ready')[0].data).epoch}.${event.sequence}`);
  });
  await check('stream: cloudevents takes the event strictly, with a source of the tenant', async () => {
    const [{ event }] = listener.about(item.id);
    same('source', event.source, `/tenants/${staff.signedIn.organization.id}/inventory`);
    same('tenantid', event.tenantid, staff.signedIn.organization.id);
    expect(Math.abs(Date.now() - Date.parse(event.time)) < 60_000, `time is ${event.time}`);
    expect(typeof event.requestid === 'string' && typeof event.correlationid === 'string', 'the request is not named');
  });
  await check('stream: ids grow', async () => {
    for (const delta of [5, -2, 4]) await staff.adjust(item.id, delta);
    const about = await eventually('four events', () => (listener.about(item.id).length >= 4 ? listener.about(item.id) : null));
    const positions = about.map(({ id }) => Number(id.split('.').at(-1)));
    expect(positions.every((position, place) => place === 0 || position > positions[place - 1]), `positions are ${positions}`);
  });
  listener.close();

  const adjusted = await new Listener(base, { person: staff, query: { types: 'inventory.item.adjusted' } }).ready();
  const begun = await new Listener(base, { person: staff, query: { types: 'inventory.item.*' } }).ready();
  const about = await new Listener(base, { person: staff, query: { subject: item.id } }).ready();
  const other = await staff.createItem();
  await staff.adjust(other.id, 3);
  await staff.adjust(item.id, 1);
  await check('stream: types= lets only these types through', async () => {
    await eventually('both changes', () => adjusted.events().length >= 2);
    same('the types', adjusted.events().map(({ name }) => name).join(), 'inventory.item.adjusted,inventory.item.adjusted');
  });
  await check('stream: types= takes a beginning', async () =>
    void (await eventually('creation and change', () => begun.about(other.id).map(({ name }) => name).join() === 'inventory.item.created,inventory.item.adjusted')));
  await check('stream: subject= lets only events about this through', async () => {
    await eventually('the change', () => about.events().length >= 1);
    same('the subjects', about.events().map(({ event }) => event.subject).join(), item.id);
  });
  [adjusted, begun, about].forEach((listener) => listener.close());
  for (const [what, query] of [['types=**', { types: '**' }], ['an unknown parameter', { colour: 'red' }], ['lastEventId=x', { lastEventId: 'x' }]]) {
    await check(`stream: ${what} is refused with 400, and eventsource gives up`, async () => {
      const refused = new Listener(base, { person: staff, query });
      await eventually('it is over', () => refused.isOver);
      same('the status', refused.named('error')[0]?.code, 400);
    });
  }
}

async function audience({ base, people: { admin, staff, viewer, stranger } }) {
  const [theirs, hers, his, own] = await Promise.all(
    [stranger, admin, viewer, staff].map((person) => new Listener(base, { person }).ready()));
  const item = await staff.createItem();
  const foreign = await stranger.createItem();
  const invited = await admin.get('POST', '/api/auth/invitations', { email: 'nobody@suite.example', role: 'viewer' });
  await eventually('staff hears of the item', () => own.about(item.id).length > 0);
  await eventually('the stranger hears of her own', () => theirs.about(foreign.id).length > 0);
  await pause(NOTHING_MS);
  await check('stream: an administrator hears what staff hears', () => same('events', hers.about(item.id).length, 1));
  await check('stream: an administrator hears of the audit too', () =>
    expect(hers.events().some(({ event }) => event.subject === invited.id), 'not of the invitation'));
  await check('stream: staff does not hear of the audit', () => same('events', own.about(invited.id).length, 0));
  await check('stream: a viewer does not hear what is for staff', () => same('events', his.about(item.id).length, 0));
  await check('stream: another organisation never hears of ours', () => {
    const known = theirs.events().filter(({ event }) => event.tenantid !== stranger.signedIn.organization.id);
    same('events of ours', known.length, 0);
  });
  await check('stream: nor do we of theirs', () => {
    const known = [...hers.events(), ...own.events()].filter(({ event }) => event.tenantid !== staff.signedIn.organization.id);
    same('events of theirs', known.length, 0);
  });
  await check('stream: asking for another tenant is refused', async () => {
    const tenant = stranger.signedIn.organization.id;
    const answer = await staff.call('GET', `${STREAM}?tenant=${tenant}`);
    answered(answer, 403, 404);
  });
  [theirs, hers, his, own].forEach((listener) => listener.close());
}

async function resume({ base, people: { staff } }) {
  const item = await staff.createItem();
  const first = await new Listener(base, { person: staff, query: { subject: item.id } }).ready();
  await staff.adjust(item.id, 1_000);
  await eventually('the first change', () => first.events().length >= 1);
  const from = first.lastId();
  first.close();
  for (let number = 0; number < MISSED; number += 1) await staff.adjust(item.id, 1);
  const wanted = await staff.logged(item.id, from);
  const ids = (listener) => listener.events().map(({ event }) => event.id);

  await check(`stream: whoever comes back with lastEventId= hears the ${MISSED} that were missed, each once, in order`, async () => {
    const back = await new Listener(base, { person: staff, query: { subject: item.id }, from }).ready();
    await eventually('all', () => back.events().length >= MISSED);
    await pause(NOTHING_MS);
    each('events', ids(back), wanted);
    same('how many', wanted.length, MISSED);
    same('resets', back.named('reset').length, 0);
    back.close();
  });
  await check('stream: the same with the field Last-Event-ID, while others write', async () => {
    const back = new Listener(base, { person: staff, query: { subject: item.id }, headers: { 'last-event-id': from } });
    const meanwhile = Promise.all(Array.from({ length: 40 }, () => staff.adjust(item.id, 1)));
    await back.ready();
    await meanwhile;
    const all = await staff.logged(item.id, from);
    await eventually('all', () => back.events().length >= all.length);
    await pause(NOTHING_MS);
    each('events', ids(back), all);
    same('how many', all.length, MISSED + 40);
    back.close();
  });
  await check(`stream: eventsource comes back by itself after ${CUTS} broken connections: no gap, nothing twice`, async () => {
    const proxy = await new Proxy(base).start();
    const listener = await new Listener(proxy.base, { person: staff, query: { subject: item.id } }).ready();
    const since = listener.lastId();
    let writing = true;
    const writer = (async () => {
      while (writing) await staff.adjust(item.id, 1);
    })();
    for (let cut = 0; cut < CUTS; cut += 1) {
      const before = listener.openings.length;
      await pause(400);
      proxy.cut();
      await eventually('it comes back', () => listener.openings.length > before, 15_000);
    }
    await pause(400);
    writing = false;
    await writer;
    const all = await staff.logged(item.id, since);
    await eventually('all', () => ids(listener).length >= all.length, 15_000);
    await pause(NOTHING_MS);
    each('events', ids(listener), all);
    const sent = listener.requests.slice(1).filter((headers) => headers['Last-Event-ID']);
    same('how often it sent Last-Event-ID', sent.length, listener.requests.length - 1);
    note(`${all.length} events while the connection was broken ${listener.requests.length - 1} times`);
    listener.close();
    proxy.end();
  });
}

async function elsewhere({ base, people: { staff } }) {
  const now = await new Listener(base, { person: staff }).ready();
  const { epoch, position } = JSON.parse(now.named('ready')[0].data);
  now.close();
  for (const [what, from, reason] of [
    ['of another log', `00ff00ff.${position}`, 'epoch'],
    ['that is not there yet', `${epoch}.${position + 1_000_000}`, 'future'],
  ]) {
    await check(`stream: a place ${what} is answered with reset, and what comes next is heard`, async () => {
      const listener = await new Listener(base, { person: staff, from }).ready();
      const reset = listener.named('reset')[0];
      expect(reset && listener.named('ready').length === 0, 'it says ready');
      const said = JSON.parse(reset.data);
      same('the reason', said.reason, reason);
      same('the epoch', said.epoch, epoch);
      answered(await staff.call('GET', said.snapshot), 200);
      const item = await staff.createItem();
      await eventually('the event', () => listener.about(item.id).length === 1);
      listener.close();
    });
  }
}

async function tickets({ base, door, people: { staff } }) {
  const ticket = async (path = STREAM) => {
    const made = await staff.get('POST', '/api/auth/tickets', { path });
    return made.ticket;
  };
  const single = await ticket().catch((error) => error);
  await check('ticket: opens a stream without any field, as browsers must', async () => {
    expect(typeof single === 'string', `no ticket: ${single?.message}`);
    const listener = await new Listener(base, { query: { ticket: single } }).ready();
    const item = await staff.createItem();
    await eventually('the event', () => listener.about(item.id).length === 1);
    listener.close();
  });
  await check('ticket: works once', async () => {
    const again = new Listener(base, { query: { ticket: single } });
    await eventually('it is over', () => again.isOver);
    same('the status', again.named('error')[0]?.code, 401);
  });
  await check('ticket: is good for the path that it was made for only', async () => {
    const answer = await door.request('GET', `${STREAM}?ticket=${await ticket('/api/notifications/ws')}`);
    answered(answer, 401);
  });
  await check('ticket: opens nothing that is not live', async () =>
    answered(await door.request('GET', `/api/inventory?ticket=${await ticket()}`), 400, 401));
  await check('ticket: an invented one is refused', async () =>
    answered(await door.request('GET', `${STREAM}?ticket=ptt_nothing`), 401));
  await check('stream: nobody gets in without anything', async () => {
    const nobody = new Listener(base, {});
    await eventually('it is over', () => nobody.isOver);
    same('the status', nobody.named('error')[0]?.code, 401);
  });
}

async function revocation({ base, door, people: { admin, staff } }) {
  /** Opens a stream with one token, takes it back, and insists that the stream ends and stays so. */
  const ends = async (what, token, takeBack) => {
    await check(`stream: ends within 2 s when ${what}, and eventsource is refused when it comes back`, async () => {
      const listener = await new Listener(base, { person: { token: async () => token } }).ready();
      const bystander = await new Listener(base, { person: staff }).ready();
      const began = now();
      answered(await takeBack(), 200, 204);
      await eventually('the stream ends', () => listener.brokenAt(), REVOKED_MS + 1_000);
      const took = listener.brokenAt() - began;
      expect(took <= REVOKED_MS, `after ${Math.round(took)} ms`);
      await eventually('it is refused', () => listener.isOver, 10_000);
      same('the status', listener.named('error').at(-1)?.code, 401);
      same('how often the bystander was broken', bystander.named('error').length, 0);
      bystander.close();
    });
  };
  const session = await door.again(staff);
  await ends('its session is ended elsewhere', session.signedIn.accessToken, () =>
    staff.call('DELETE', `/api/auth/sessions/${session.signedIn.sessionId}`));
  const leaving = await door.again(staff);
  await ends('its owner signs out', leaving.signedIn.accessToken, () => leaving.call('POST', '/api/auth/logout'));
  const scopes = ['events.members.read', 'events.staff.read'];
  const issued = await staff.get('POST', '/api/auth/tokens', { name: 'a stream', scopes });
  await ends('its API token is withdrawn', issued.token, () => staff.call('DELETE', `/api/auth/tokens/${issued.id}`));
  const guest = await admin.invite('guest', 'staff');
  await ends('its owner is removed', guest.signedIn.accessToken, () =>
    admin.call('DELETE', `/api/v1/identity/members/${guest.signedIn.user.id}`));
}

/** Opens a stream where nothing happens and waits for a comment. */
async function hearHeartbeat({ base, people: { staff } }) {
  const answer = await fetch(new URL(`${STREAM}?subject=nobody`, base), { headers: { authorization: `Bearer ${await staff.token()}` } });
  const [reader, began, decoder] = [answer.body.getReader(), now(), new TextDecoder()];
  try {
    let text = '';
    while (now() - began < HEARTBEAT_MS) {
      const silence = pause(HEARTBEAT_MS - (now() - began)).then(() => ({ done: true }));
      const { value, done } = await Promise.race([reader.read(), silence]);
      if (done) break;
      text += decoder.decode(value, { stream: true });
      // A comment, or an id alone where others wrote meanwhile: neither is an event.
      const frames = text.split('\n\n').slice(1, -1);
      if (frames.some((frame) => /^(:.*|id: \S+)$/.test(frame))) return;
    }
    throw new Error(`nothing in ${HEARTBEAT_MS} ms but ${JSON.stringify(text.slice(0, 300))}`);
  } finally {
    reader.cancel().catch(() => {});
  }
}
