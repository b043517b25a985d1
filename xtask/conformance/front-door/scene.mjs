// The servers of the example, each behind a tap, the door in front of them, and who asks. Not for what is checked.

import { spawn } from 'node:child_process';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

import { ask, eventually, expect } from './checks.mjs';
import { Tap } from './tap.mjs';

/** Starts everything; `given` is what `cargo xtask conformance front-door` writes. */
export class Scene {
  constructor(given) {
    Object.assign(this, given, { children: {}, taps: {}, logs: {} });
    this.direct = Object.fromEntries(Object.entries(given.ports).map(([name, port]) => [name, `http://127.0.0.1:${port}`]));
  }

  async start() {
    // Beside the packages, where Node finds them.
    rmSync('./example', { recursive: true, force: true });
    cpSync(this.example, './example', { recursive: true, force: true });
    const conf = readFileSync('./example/nginx.conf', 'utf8');
    writeFileSync('./example/nginx.conf', conf.replace(':8081', `:${this.ports.files}`));
    this.shop = readFileSync('./example/shop.json');
    const { servers, start, end } = await import('./example/servers.mjs');
    this.table = servers({ ports: this.ports, python: this.python, nginx: this.nginx });
    this.ends = end;
    this.begins = start;
    for (const [name, listen] of Object.entries(this.listens)) this.taps[name] = new Tap(listen, this.ports[name]);
    await Promise.all(Object.values(this.taps).map((tap) => tap.open()));
    // All at once: the slowest takes half a minute.
    await Promise.all(Object.keys(this.table).map((name) => this.begin(name)));
    this.tokens = {
      alice: await this.token('alice@acme', 'editor'),
      albert: await this.token('albert@acme', 'viewer'),
      greta: await this.token('greta@globex', 'editor'),
      session: this.signedIn.accessToken,
    };
    const made = await ask(this.base, '/api/auth/tokens', { method: 'POST', token: this.tokens.session, body: { name: 'front door' } });
    expect(made.status === 201, `an API token was answered ${made.status} ${made.text}`);
    this.tokens.api = made.json.token ?? made.json.data?.token;
    // The door was there first: it has to find out that the servers are there now.
    await eventually('a token of the issuer is believed', async () => (await this.get('/mlflow/version')).status === 200, 60_000);
  }

  /** Starts a server and waits until it answers. */
  async begin(name) {
    const server = this.table[name];
    const said = [];
    const options = { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PYTHONPATH: this.packages, PYTHONDONTWRITEBYTECODE: '1', MLFLOW_DISABLE_TELEMETRY: 'true' } };
    const child = this.begins(server, options);
    for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (data) => said.push(data));
    child.on('error', (error) => said.push(Buffer.from(String(error))));
    this.children[name] = child;
    this.logs[name] = said;
    await eventually(`${name} answers`, async () => {
      expect(child.exitCode === null, `${name} ended: ${Buffer.concat(said).toString().slice(-600)}`);
      return ask(this.direct[name], server.ready).catch(() => null);
    }, 120_000);
  }

  /** Kills a server without a word, and refuses its connections. */
  async kill(name) {
    const child = this.children[name];
    const gone = new Promise((resolve) => child.on('exit', resolve));
    this.ends(child, 'SIGKILL');
    await gone;
    await this.taps[name].close();
  }

  /** Starts it again. */
  async revive(name) {
    await this.begin(name);
    await this.taps[name].open();
  }

  /** Gets a token from the issuer. */
  async token(client, role) {
    const form = new URLSearchParams({ grant_type: 'client_credentials', client_id: client, scope: role });
    const answer = await fetch(`${this.direct.issuer}/token`, { method: 'POST', body: form });
    expect(answer.ok, `the issuer answered ${answer.status}`);
    return (await answer.json()).access_token;
  }

  /** Asks the door as alice. */
  get(path, more = {}) {
    return ask(this.base, path, { token: this.tokens.alice, ...more });
  }

  /** Runs a program of somebody else's and returns its status and output. */
  run(command, words, options = {}) {
    return new Promise((resolve) => {
      const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
      const [out, err] = [[], []];
      child.stdout.on('data', (data) => out.push(data));
      child.stderr.on('data', (data) => err.push(data));
      child.on('error', (error) => resolve({ code: -1, out: Buffer.alloc(0), err: String(error) }));
      child.on('close', (code) => resolve({ code, out: Buffer.concat(out), err: Buffer.concat(err).toString() }));
    });
  }

  /** Ends everything. */
  async stop() {
    for (const child of Object.values(this.children)) this.ends?.(child, 'SIGKILL');
    for (const tap of Object.values(this.taps)) await tap.close().catch(() => {});
  }
}
