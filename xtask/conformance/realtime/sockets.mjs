// Socket.IO in the hands of npm's socket.io-client: signing in, rooms, coming back, and the end of a
// credential. Not for plain WebSockets.

import { io } from 'socket.io-client';

import { answered, check, eventually, expect, note, now, pause, same } from './checks.mjs';
import { each } from './listener.mjs';

const MISSED = 50;
const REVOKED_MS = 2_000;
const NOTHING_MS = 700;

/** A client of npm's socket.io-client that keeps what it hears. */
export class Client {
  constructor(base, auth, options = {}) {
    this.heard = [];
    this.errors = [];
    this.disconnects = [];
    this.socket = io(base, { auth, forceNew: true, transports: ['websocket'], ...options });
    this.socket.onAny((name, data) => this.heard.push({ name, data }));
    this.socket.on('connect_error', (error) => this.errors.push(error));
    this.socket.on('disconnect', (reason) => this.disconnects.push({ at: now(), reason }));
  }

  /** Waits until the server says that it is in. */
  async ready() {
    await eventually('the socket is ready', () => {
      expect(this.errors.length === 0, `it was refused: ${this.errors[0]?.message} ${JSON.stringify(this.errors[0]?.data)}`);
      return this.named('ready')[0];
    });
    return this;
  }

  /** Waits until it is refused, and returns the error. */
  refused() {
    return eventually('connect_error', () => this.errors[0]);
  }

  named(name) {
    return this.heard.filter((message) => message.name === name).map((message) => message.data);
  }

  /** Returns what was told about one thing, updates and summaries. */
  about(id) {
    return this.heard.filter(({ name, data }) => name.startsWith('inventory:') && data?.id === id);
  }

  close() {
    this.socket.close();
  }
}

/** Returns what a client brings that asks for a token each time it connects. */
export function bringing(person) {
  return (bring) => {
    person.token().then((token) => bring({ token }), () => bring({ token: 'none' }));
  };
}

/** Runs the checks. */
export async function sockets(scene) {
  await handshake(scene);
  await transports(scene);
  await rooms(scene);
  await comeBack(scene);
  await refresh(scene);
  await revocation(scene);
}

async function handshake({ base, people: { staff } }) {
  await check('socket: a token in auth lets it in', async () => {
    const client = await new Client(base, { token: await staff.token() }).ready();
    const [ready] = client.named('ready');
    expect(ready.rooms.includes('role:staff') && ready.rooms.includes(`user:${staff.signedIn.user.id}`), `rooms are ${ready.rooms}`);
    expect(typeof ready.epoch === 'string' && Number.isInteger(ready.position), 'it does not say where the log is');
    client.close();
  });
  await check('socket: so does auth as a function, which asks for a token each time', async () =>
    (await new Client(base, bringing(staff)).ready()).close());
  const token = await staff.token();
  for (const [what, auth, code] of [
    ['nothing', undefined, 'request.unauthenticated'],
    ['an empty token', { token: '' }, undefined],
    ['an invented token', { token: 'eyJhbGciOiJub25lIn0.e30.' }, undefined],
    ['a token with a letter changed', { token: `${token.slice(0, -2)}${token.at(-2) === 'A' ? 'B' : 'A'}${token.at(-1)}` }, undefined],
    ['a number as token', { token: 7 }, 'live.invalid_handshake'],
  ]) {
    await check(`socket: ${what} is a connect_error with a code, and nothing is heard`, async () => {
      const client = new Client(base, auth, { reconnection: false });
      const error = await client.refused();
      expect(typeof error.data?.code === 'string', `data is ${JSON.stringify(error.data)}`);
      if (code) same('the code', error.data.code, code);
      same('messages', client.heard.length, 0);
      client.close();
    });
  }
  await check('socket: another namespace is a connect_error with a code', async () => {
    const client = new Client(`${base}/admin`, { token }, { reconnection: false });
    same('the code', (await client.refused()).data?.code, 'live.no_namespace');
    client.close();
  });
}

async function transports({ base, people: { staff } }) {
  for (const [what, options, expected] of [
    ['polling only', { transports: ['polling'] }, 'polling'],
    ['WebSocket only', { transports: ['websocket'] }, 'websocket'],
    ['polling, then an upgrade', { transports: ['polling', 'websocket'] }, 'websocket'],
  ]) {
    await check(`socket: works with ${what}`, async () => {
      const client = await new Client(base, { token: await staff.token() }, options).ready();
      const used = () => client.socket.io.engine.transport.name;
      await eventually(`the transport is ${expected}`, () => used() === expected);
      const item = await staff.createItem();
      await eventually('the update', () => client.about(item.id).length === 1, 3_000);
      same('the transport', used(), expected);
      client.close();
    });
  }
}

async function rooms({ base, people: { admin, staff, viewer, stranger } }) {
  const [hers, own, his, theirs] = await Promise.all(
    [admin, staff, viewer, stranger].map(async (person) => new Client(base, { token: await person.token() }).ready()));
  const item = await staff.createItem();
  await staff.adjust(item.id, 4711);
  await eventually('staff hears both', () => own.about(item.id).length === 2);
  await pause(NOTHING_MS);
  for (const [who, client] of [['an administrator', hers], ['staff', own]]) {
    await check(`rooms: ${who} gets inventory:update with all of it`, () => {
      const [created, adjusted] = client.about(item.id);
      same('the names', `${created?.name} ${adjusted?.name}`, 'inventory:update inventory:update');
      same('the types', `${created.data.type} ${adjusted.data.type}`, 'inventory.item.created inventory.item.adjusted');
      same('the quantity', adjusted.data.data.quantity, 4711);
      expect(adjusted.data.position > created.data.position, 'positions do not grow');
    });
  }
  await check('rooms: a viewer gets only inventory:summary, without amounts', () => {
    same('the names', his.about(item.id).map(({ name }) => name).join(), 'inventory:summary,inventory:summary');
    expect(!JSON.stringify(his.heard).includes('4711'), 'the amount is there');
    same('updates', his.named('inventory:update').length, 0);
  });
  await check('rooms: another organisation hears nothing', () => same('messages', theirs.about(item.id).length, 0));
  await check('rooms: a client cannot join any', async () => {
    for (const name of ['join', 'subscribe', 'room:join']) {
      for (const room of ['role:staff', 'role:admin', `t:${staff.signedIn.organization.id}:role:admin`]) {
        his.socket.emit(name, room);
        his.socket.emit(name, { room });
        theirs.socket.emit(name, room);
      }
    }
    const another = await staff.createItem();
    await eventually('staff hears', () => own.about(another.id).length === 1);
    await pause(NOTHING_MS);
    same('what the viewer gets', his.about(another.id).map(({ name }) => name).join(), 'inventory:summary');
    same('what the stranger gets', theirs.about(another.id).length, 0);
    expect(his.disconnects.length === 0, 'the viewer was thrown out');
  });
  [hers, own, his, theirs].forEach((client) => client.close());
}

async function comeBack({ base, people: { staff } }) {
  const item = await staff.createItem();
  const first = await new Client(base, { token: await staff.token() }).ready();
  await staff.adjust(item.id, 100);
  const [{ data: last }] = await eventually('the update', () => (first.about(item.id).length === 1 ? first.about(item.id) : null));
  first.close();
  for (let number = 0; number < MISSED; number += 1) await staff.adjust(item.id, 1);
  for (const [what, lastPos] of [
    ['an object', { epoch: last.epoch, position: last.position }],
    ['a text', `${last.epoch}.${last.position}`],
  ]) {
    await check(`socket: lastPos as ${what} brings the ${MISSED} that were missed, each once, in order, then goes on`, async () => {
      const back = new Client(base, { token: await staff.token(), lastPos });
      const meanwhile = staff.adjust(item.id, 1);
      await back.ready();
      await meanwhile;
      const end = await staff.adjust(item.id, 1);
      await eventually('the last', () => back.about(item.id).some(({ data }) => data.version === end.item.version));
      await pause(NOTHING_MS);
      const versions = back.about(item.id).map(({ data }) => data.version);
      const wanted = Array.from({ length: end.item.version - last.version }, (_, place) => last.version + 1 + place);
      each('updates', versions, wanted);
      expect(wanted.length >= MISSED + 2, `only ${wanted.length} were wanted`);
      same('resyncs', back.named('resync').length, 0);
      back.close();
    });
  }
  for (const [what, lastPos, reason] of [
    ['of another log', { epoch: '00ff00ff', position: last.position }, 'epoch'],
    ['that is not there yet', { epoch: last.epoch, position: last.position + 1_000_000 }, 'ahead'],
    ['that is none', 'nonsense', 'invalid'],
  ]) {
    await check(`socket: lastPos ${what} is answered with resync, and what comes next is heard`, async () => {
      const client = await new Client(base, { token: await staff.token(), lastPos }).ready();
      same('the reason', client.named('resync')[0]?.reason, reason);
      const another = await staff.createItem();
      await eventually('the update', () => client.about(another.id).length === 1);
      client.close();
    });
  }
}

async function refresh({ base, door, people: { staff, viewer } }) {
  const session = await door.again(staff);
  const client = await new Client(base, { token: session.signedIn.accessToken }, { reconnection: false }).ready();
  const ask = (token) => client.socket.timeout(5_000).emitWithAck('auth:refresh', { token });
  await check('socket: auth:refresh takes a new token of the same person', async () => {
    const before = Date.parse(client.named('ready')[0].until);
    await pause(1_100);
    const answer = await ask(await session.refresh());
    same('ok', answer.ok, true);
    expect(Date.parse(answer.until) > before, `until is ${answer.until}, before ${client.named('ready')[0].until}`);
  });
  await check('socket: auth:refresh refuses somebody else\'s token and goes on', async () => {
    const answer = await ask(await viewer.token());
    same('ok', answer.ok, false);
    same('the code', answer.code, 'live.other_caller');
    const item = await staff.createItem();
    await eventually('an update', () => client.about(item.id).length === 1);
  });
  await check('socket: auth:refresh refuses what is no token and goes on', async () => {
    for (const token of ['nonsense', 7, undefined]) {
      const answer = await ask(token);
      expect(answer.ok === false && typeof answer.code === 'string', `answered ${JSON.stringify(answer)}`);
    }
    expect(client.socket.connected, 'it is closed');
  });
  client.close();
}

async function revocation({ base, door, people: { admin, staff } }) {
  const ends = async (what, token, takeBack) => {
    await check(`socket: closes within 2 s when ${what}, and comes back to a connect_error`, async () => {
      const client = await new Client(base, { token }, { reconnectionDelay: 100 }).ready();
      const began = now();
      answered(await takeBack(), 200, 204);
      const { at, reason } = await eventually('it is closed', () => client.disconnects[0], REVOKED_MS + 1_000);
      expect(at - began <= REVOKED_MS, `after ${Math.round(at - began)} ms`);
      // Thrown out of the namespace, a client would not come back by itself, with a new token.
      expect(reason !== 'io server disconnect', `the reason is ${reason}`);
      const error = await eventually('it is refused', () => client.errors[0]);
      expect(typeof error.data?.code === 'string', `data is ${JSON.stringify(error.data)}`);
      client.close();
    });
  };
  const session = await door.again(staff);
  await ends('its session is ended', session.signedIn.accessToken, () =>
    staff.call('DELETE', `/api/auth/sessions/${session.signedIn.sessionId}`));
  const guest = await admin.invite('guest', 'staff');
  await ends('its owner is removed', guest.signedIn.accessToken, () =>
    admin.call('DELETE', `/api/v1/identity/members/${guest.signedIn.user.id}`));
}

/** Opens what ends by itself when its token does; call the result a minute later. Tokens live 60 s here. */
export async function expiring({ base, door, people: { staff } }) {
  const [stale, kept] = [await door.again(staff), await door.again(staff)];
  const token = stale.signedIn.accessToken;
  const since = now();
  let tokenAfterwards;
  const left = await new Client(base, { token }, { reconnection: false }).ready();
  const returning = await new Client(base, (bring) => bring({ token: tokenAfterwards ?? token }), { reconnectionDelay: 200 }).ready();
  const refreshed = await new Client(base, { token: kept.signedIn.accessToken }, { reconnection: false }).ready();
  // By itself, however long what comes between takes.
  const refreshing = pause(40_000).then(async () => {
    const answer = await refreshed.socket.timeout(5_000).emitWithAck('auth:refresh', { token: await kept.refresh() });
    tokenAfterwards = await kept.refresh();
    return answer;
  });
  refreshing.catch(() => {});
  return async () => {
    const answer = await refreshing;
    await eventually('the token runs out', () => left.disconnects[0], 45_000);
    await check('socket: is told before its token runs out', () =>
      expect(left.named('auth:expiring').length === 1, `${left.named('auth:expiring').length} times`));
    await check('socket: closes when its token runs out', () => {
      const lived = left.disconnects[0].at - since;
      expect(lived > 50_000 && lived < 70_000, `after ${Math.round(lived)} ms`);
      note(`a socket with a token of 60 s was closed after ${(lived / 1_000).toFixed(1)} s`);
    });
    await check('socket: an expired token is a connect_error with a code', async () => {
      const late = new Client(base, { token }, { reconnection: false });
      expect(typeof (await late.refused()).data?.code === 'string', 'there is no code');
      late.close();
    });
    await check('socket: comes back by itself with the token that auth() then gives', async () => {
      await eventually('it is back', () => returning.disconnects.length > 0 && returning.socket.connected);
      await eventually('it is in', () => returning.named('ready').length >= 2);
      const item = await staff.createItem();
      await eventually('an update', () => returning.about(item.id).length === 1);
    });
    await check('socket: one that was refreshed is still open', async () => {
      same('ok', answer.ok, true);
      same('disconnects', refreshed.disconnects.length, 0);
      const item = await staff.createItem();
      await eventually('an update', () => refreshed.about(item.id).length === 1);
    });
    [left, returning, refreshed].forEach((client) => client.close());
  };
}
