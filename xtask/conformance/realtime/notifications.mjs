// Notifications: the list, the push over npm's ws, and letters through a real mail server. Not for
// webhooks.

import WebSocket from 'ws';

import { answered, check, eventually, expect, note, now, pause, same } from './checks.mjs';

const PATH = '/api/notifications/ws';
const REVOKED_MS = 2_000;
const NOTHING_MS = 700;
/** A letter leaves when its window of 5 minutes closes; something for the machine. */
const LETTER_MS = 345_000;

/** A socket of npm's ws that keeps what it hears. */
export class Bell {
  constructor(base, { token, query = '', headers = {} } = {}) {
    const url = `${base.replace('http:', 'ws:')}${PATH}${query}`;
    this.heard = [];
    this.socket = new WebSocket(url, { headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...headers } });
    this.socket.on('message', (data) => this.heard.push(JSON.parse(data.toString())));
    this.socket.on('open', () => { this.isOpen = true; });
    this.socket.on('unexpected-response', (_, response) => { this.status = response.statusCode; this.socket.terminate(); });
    this.socket.on('error', (error) => { this.error = error; });
    this.socket.on('close', (code) => { this.closed = { at: now(), code }; });
  }

  async open() {
    await eventually('the socket opens', () => {
      expect(!this.status && !this.error, `it was refused: ${this.status ?? this.error?.message}`);
      return this.isOpen;
    });
    return this;
  }

  /** Returns what was pushed about a thing. */
  about(id) {
    return this.heard.filter((message) => JSON.stringify(message).includes(id));
  }
}

/** Makes an item short of stock and returns it. */
async function fallShort(person) {
  const item = await person.createItem({ lowStockLevel: 10 });
  await person.adjust(item.id, 50);
  await person.adjust(item.id, -45);
  return item;
}

/** Returns somebody's notifications about a thing. */
async function told(person, id) {
  const page = await person.get('GET', '/api/notifications?limit=200');
  return page.items.filter((notification) => notification.object === id);
}

/** Runs the checks; the result waits for letters. */
export async function notifications(scene) {
  const { base, door, mail, people: { admin, staff, viewer, stranger } } = scene;
  const bell = await new Bell(base, { token: await admin.token() }).open();
  const others = await Promise.all([staff, viewer, stranger].map(async (person) => new Bell(base, { token: await person.token() }).open()));
  await pause(200);
  const item = await fallShort(staff);

  let shown;
  await check('notification: low stock is in the list of an administrator', async () => {
    shown = await eventually('it is there', async () => (await told(admin, item.id))[0]);
    same('the type', shown.type, 'LOW_STOCK');
    same('read', shown.read, false);
    expect(shown.title.includes(item.sku), `the title is ${shown.title}`);
  });
  await check('notification: it is pushed to the socket', async () =>
    void (await eventually('the push', () => bell.about(item.id).length > 0, 3_000)));
  await pause(NOTHING_MS);
  await check('notification: nobody else gets it: who did it, a viewer, another organisation', async () => {
    same('pushes', others.map((other) => other.about(item.id).length).join(), '0,0,0');
    for (const person of [staff, viewer, stranger]) same('in a list', (await told(person, item.id)).length, 0);
  });
  await check('notification: the same shortage is told once', async () => {
    await staff.adjust(item.id, -1);
    await staff.adjust(item.id, -1);
    await pause(NOTHING_MS);
    const again = await told(admin, item.id);
    same('how many', `${again.length} ${again[0].count}`, '1 1');
  });
  await check('notification: reading it is pushed to the person\'s other sockets', async () => {
    const another = await new Bell(base, { token: await admin.token() }).open();
    await pause(200);
    const before = another.heard.length;
    const answer = await admin.get('PUT', `/api/notifications/${shown.id}/read`);
    same('read', answer.notification.read, true);
    await eventually('a push', () => another.heard.length > before, 3_000);
    another.socket.close();
  });
  await check('notification: nobody else may read it off', async () =>
    answered(await staff.call('PUT', `/api/notifications/${shown.id}/read`), 404));
  // What is read is not written a letter about: these are.
  const [unread, twice] = [await fallShort(staff), await fallShort(staff)];
  await eventually('the second is there', async () => (await told(admin, twice.id)).length === 1);
  await staff.adjust(twice.id, 60);
  await staff.adjust(twice.id, -60);
  const since = now();
  await check('notification: a second shortage of the same item comes to the same notification', async () => {
    await eventually('it counts two', async () => (await told(admin, twice.id))[0]?.count === 2);
    same('how many', (await told(admin, twice.id)).length, 1);
  });
  await sockets(scene, bell);
  [bell, ...others].forEach(({ socket }) => socket.close());

  return async () => {
    const letters = () => mail.to(admin.email).filter(({ headers }) => headers.subject?.startsWith('Low stock'));
    await eventually('two letters', () => letters().length >= 2, Math.max(1_000, since + LETTER_MS - now()));
    await pause(3_000);
    const about = (known) => letters().filter(({ parts }) => parts['text/plain']?.includes(known.sku));
    await check('letter: each window is one letter, and what was read is none', () => {
      same('letters', [item, unread, twice].map((known) => about(known).length).join(), '0,1,1');
      expect(/and 1 more/.test(about(twice)[0].headers.subject), `the subject is ${about(twice)[0].headers.subject}`);
    });
    const [letter] = about(unread);
    await check('letter: its fields are those of a letter that people get once and may stop', () => {
      const { headers } = letter;
      expect(/^<[^@<>\s]+@[^@<>\s]+>$/.test(headers['message-id'] ?? ''), `Message-ID is ${headers['message-id']}`);
      expect(/^<https?:\/\/[^>\s]+>$/.test(headers['list-unsubscribe'] ?? ''), `List-Unsubscribe is ${headers['list-unsubscribe']}`);
      same('List-Unsubscribe-Post', headers['list-unsubscribe-post'], 'List-Unsubscribe=One-Click');
      expect(headers.date && headers.from && headers.to, 'Date, From or To is missing');
      same('repeated fields', letter.repeated.filter((name) => name !== 'received').join(), '');
      same('defects', letter.defects.join(), '');
      expect(/^(auto-generated|auto-notified)/.test(headers['auto-submitted'] ?? ''), `Auto-Submitted is ${headers['auto-submitted']}`);
    });
    await check('letter: it has a text and an HTML form', () => {
      same('the type', letter.type, 'multipart/alternative');
      same('the forms', Object.keys(letter.parts).join(), 'text/plain,text/html');
      expect(letter.parts['text/html'].includes(unread.sku), 'the HTML does not name the item');
    });
    await check('letter: one POST to List-Unsubscribe stops letters of this type, without signing in', async () => {
      const url = new URL(letter.headers['list-unsubscribe'].slice(1, -1));
      answered(await door.request('GET', `${url.pathname}${url.search}`), 200);
      same('before', await enabled(admin), true);
      answered(await door.request('POST', `${url.pathname}${url.search}`), 200);
      same('after', await enabled(admin), false);
    });
    note(`letters came ${Math.round((now() - since) / 1_000)} s after the second shortage at the latest`);
  };
}

async function enabled(person) {
  const { preferences } = await person.get('GET', '/api/notifications/preferences');
  return preferences.find(({ type, channel }) => type === 'LOW_STOCK' && channel === 'email').enabled;
}

async function sockets({ base, door, people: { admin, staff } }, bell) {
  await check('bell: nobody gets in without a token', async () => {
    const nobody = new Bell(base);
    await eventually('it is refused', () => nobody.status || nobody.closed);
    expect(nobody.status === 401 || (nobody.closed.code >= 4400 && nobody.closed.code < 4500), `${nobody.status} ${nobody.closed?.code}`);
    same('messages', nobody.heard.length, 0);
  });
  await check('bell: a ticket opens it, once', async () => {
    const { ticket } = await admin.get('POST', '/api/auth/tickets', { path: PATH });
    const query = `?ticket=${ticket}`;
    const opened = await new Bell(base, { query }).open();
    const again = new Bell(base, { query });
    await eventually('the second is refused', () => again.status || again.closed);
    expect(!again.isOpen || again.closed?.code >= 4400, 'it is open');
    opened.socket.close();
  });
  await check('bell: answers a ping', async () => {
    let answer = false;
    bell.socket.once('pong', () => { answer = true; });
    bell.socket.ping();
    await eventually('a pong', () => answer, 3_000);
  });
  await check('bell: closes within 2 s when the session is ended', async () => {
    const session = await door.again(staff);
    const theirs = await new Bell(base, { token: session.signedIn.accessToken }).open();
    const began = now();
    answered(await staff.call('DELETE', `/api/auth/sessions/${session.signedIn.sessionId}`), 204, 200);
    await eventually('it is closed', () => theirs.closed, REVOKED_MS + 1_000);
    expect(theirs.closed.at - began <= REVOKED_MS, `after ${Math.round(theirs.closed.at - began)} ms`);
    note(`a revoked notification socket closed with code ${theirs.closed.code}`);
  });
}
