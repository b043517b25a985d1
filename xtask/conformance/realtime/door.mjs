// The people of the suite and their requests: signing in, staying signed in, changing stock. Not
// for judging the answers, and not for streams.

import http from 'node:http';

import { answered, expect } from './checks.mjs';

const PATIENCE_MS = 15_000;
/** A token that ends sooner than this is exchanged before it is used. */
const FRESH_MS = 25_000;
const PASSWORD = 'nine herons read the tide table';

export class Door {
  constructor(base, operatorToken) {
    this.base = new URL(base);
    this.operatorToken = operatorToken;
    this.agent = new http.Agent({ keepAlive: true, timeout: 2_000 });
    this.numbers = 0;
  }

  /** Sends a request and reads the whole answer. */
  request(method, path, { token, json, headers = {} } = {}) {
    const body = json === undefined ? undefined : JSON.stringify(json);
    const fields = { ...headers };
    if (token) fields.authorization = `Bearer ${token}`;
    if (body !== undefined) {
      fields['content-type'] = 'application/json';
      fields['content-length'] = Buffer.byteLength(body);
    }
    return new Promise((resolve, reject) => {
      const request = http.request(new URL(path, this.base), { method, headers: fields, agent: this.agent }, (response) => {
        const parts = [];
        response.on('data', (part) => parts.push(part));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(parts).toString();
          resolve({ status: response.statusCode, headers: response.headers, text, json: parsed(text) });
        });
      });
      request.setTimeout(PATIENCE_MS, () => request.destroy(new Error(`${method} ${path}: no answer in ${PATIENCE_MS} ms`)));
      request.on('error', reject);
      request.end(body);
    });
  }

  /** Signs in an administrator of an organisation with a code that the operator asks for. */
  async signIn(organization) {
    const made = await this.request('POST', '/operator/sign-in-codes', { token: this.operatorToken, json: { organization } });
    answered(made, 201);
    const answer = await this.request('POST', '/api/auth/login', { json: { code: made.json.code } });
    answered(answer, 200);
    return new Person(this, answer.json);
  }

  /** Signs in again as somebody who has a password. */
  async again(person) {
    const json = { email: person.email, password: PASSWORD };
    const answer = await this.request('POST', '/api/auth/login', { json });
    answered(answer, 200);
    return new Person(this, answer.json, person.email);
  }

  /** Registers somebody with an organisation; `code` finds the code in the letter. */
  async register(name, slug, code) {
    const email = `${slug}@suite.example`;
    const json = { email, password: PASSWORD, name, organizationName: name, organizationSlug: slug };
    answered(await this.request('POST', '/api/auth/register', { json }), 202);
    const confirm = { code: await code(email), password: PASSWORD };
    const answer = await this.request('POST', '/api/auth/register/confirm', { json: confirm });
    answered(answer, 201);
    return new Person(this, answer.json, email);
  }

  /** Closes what is open. */
  close() {
    this.agent.destroy();
  }
}

/** Somebody who is signed in. */
export class Person {
  constructor(door, signedIn, email) {
    Object.assign(this, { door, signedIn, email: email ?? signedIn.user?.email });
  }

  /** Returns an access token that works for a while, exchanging the refresh token when that is due. */
  async token() {
    if (Date.parse(this.signedIn.expiresAt) - Date.now() < FRESH_MS) await this.refresh();
    return this.signedIn.accessToken;
  }

  /** Gets the next access token. */
  async refresh() {
    // Several who ask at once wait for the same answer.
    this.refreshing ??= this.door
      .request('POST', '/api/auth/refresh', { json: { refreshToken: this.signedIn.refreshToken } })
      .finally(() => { this.refreshing = undefined; });
    const answer = await this.refreshing;
    answered(answer, 200);
    this.signedIn = { ...this.signedIn, ...answer.json };
    return this.signedIn.accessToken;
  }

  async call(method, path, json, headers) {
    return this.door.request(method, path, { token: await this.token(), json, headers });
  }

  /** Calls, insists on one of the good statuses, and returns the body without its envelope. */
  async get(method, path, json) {
    const answer = await this.call(method, path, json);
    expect(answer.status < 300, `${method} ${path} was answered ${answer.status}: ${answer.text.slice(0, 200)}`);
    return answer.json?.data ?? answer.json;
  }

  /** Invites somebody and signs that person in. */
  async invite(name, role) {
    const email = `${name}-${(this.door.numbers += 1)}@suite.example`;
    const { code } = await this.get('POST', '/api/auth/invitations', { email, role });
    const answer = await this.door.request('POST', '/api/auth/invitations/accept', { json: { code, name, password: PASSWORD } });
    answered(answer, 200);
    return new Person(this.door, answer.json, email);
  }

  /** Creates an item. */
  createItem(fields = {}) {
    const number = (this.door.numbers += 1);
    return this.get('POST', '/api/inventory', { sku: `SKU-${process.pid}-${number}`, name: `Thing ${number}`, ...fields });
  }

  /** Changes the stock of an item. */
  adjust(id, delta) {
    return this.get('POST', `/api/inventory/${id}/adjust`, { delta, reason: delta > 0 ? 'received' : 'sold' });
  }

  /** Returns the ids of the events about something after the id of one, as the list of events has them. */
  async logged(subject, from) {
    const ids = [];
    const about = `/api/events?limit=200&subject=${subject}`;
    let path = `${about}&after=${from.split('.').at(-1)}`;
    for (;;) {
      const page = await this.get('GET', path);
      ids.push(...page.items.map((event) => event.id));
      if (!page.next || page.items.length === 0) return ids;
      path = `${about}&cursor=${encodeURIComponent(page.next)}`;
    }
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
