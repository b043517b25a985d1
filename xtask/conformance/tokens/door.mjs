// Talks HTTP to the server under test, exactly as told: header fields may come twice, and bytes that
// no HTTP library would send go out as they are. Not for judging the answers.

import http from 'node:http';
import net from 'node:net';

const PATIENCE_MS = 10_000;

export class Door {
  constructor({ base, operatorToken }) {
    this.base = new URL(base);
    this.operatorToken = operatorToken;
    // Idle connections end here first, well before the server would close them under a request.
    this.agent = new http.Agent({ keepAlive: true, timeout: 2_000 });
  }

  /** Sends a request with header fields as [name, value] pairs, and reads the whole answer. */
  request(method, path, { headers = [], json } = {}) {
    const body = json === undefined ? undefined : JSON.stringify(json);
    const fields = [['host', this.base.host], ...headers];
    if (body !== undefined) {
      fields.push(['content-type', 'application/json'], ['content-length', String(Buffer.byteLength(body))]);
    }
    return new Promise((resolve, reject) => {
      const options = { method, path, headers: fields.flat(), agent: this.agent, setHost: false };
      const request = http.request(this.base, options, (response) => {
        const parts = [];
        response.on('data', (part) => parts.push(part));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(parts).toString();
          resolve({ status: response.statusCode, headers: response.headers, text, json: parsed(text) });
        });
      });
      request.setTimeout(PATIENCE_MS, () => request.destroy(new Error(`no answer in ${PATIENCE_MS} ms`)));
      request.on('error', reject);
      request.end(body);
    });
  }

  /** Asks who the bearer of this token is. */
  me(token) {
    return this.request('GET', '/api/auth/me', { headers: bearer(token) });
  }

  /** Asks the same with these bytes as the Authorization field, and returns the status; 0 when closed. */
  meRaw(value) {
    return new Promise((resolve, reject) => {
      const parts = [];
      const socket = net.connect(Number(this.base.port), this.base.hostname);
      socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error(`no answer in ${PATIENCE_MS} ms`)));
      socket.on('error', reject);
      socket.on('data', (part) => parts.push(part));
      socket.on('close', () => resolve(Number(Buffer.concat(parts).toString().split(' ')[1] ?? 0)));
      socket.write(`GET /api/auth/me HTTP/1.1\r\nHost: ${this.base.host}\r\nConnection: close\r\n`);
      socket.write('Authorization: Bearer ');
      socket.write(Buffer.from(value, 'latin1'));
      socket.write('\r\n\r\n');
    });
  }

  /** Signs the administrator in once more, with a code that the operator asks for. */
  async signIn() {
    const made = await this.operator('/operator/sign-in-codes', { organization: 'main' });
    if (made.status !== 201) throw new Error(`a sign-in code was answered with ${made.status}`);
    const answer = await this.request('POST', '/api/auth/login', { json: { code: made.json.code } });
    if (answer.status !== 200) throw new Error(`signing in was answered with ${answer.status}`);
    return answer.json;
  }

  /** Exchanges a refresh token. */
  refresh(refreshToken) {
    return this.request('POST', '/api/auth/refresh', { json: { refreshToken } });
  }

  /** Posts as whoever runs the installation. */
  operator(path, json) {
    return this.request('POST', path, { headers: bearer(this.operatorToken), json });
  }

  /** Closes what is open. */
  close() {
    this.agent.destroy();
  }
}

/** Returns the header fields of a request with a bearer token. */
export function bearer(token) {
  return [['authorization', `Bearer ${token}`]];
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
