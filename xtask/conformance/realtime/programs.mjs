// The programs around the server under test: a mail server and a verifier in Python, Redis, and a
// proxy that breaks connections. Not for what is checked with them.

import { spawn } from 'node:child_process';
import net from 'node:net';
import readline from 'node:readline';

import { eventually } from './checks.mjs';

/** A program that prints JSON, one value a line. */
class Talker {
  constructor(program, args, environment) {
    this.said = [];
    this.child = spawn(program, args, { env: { ...process.env, ...environment }, stdio: ['pipe', 'pipe', 'inherit'] });
    readline.createInterface({ input: this.child.stdout }).on('line', (line) => this.said.push(JSON.parse(line)));
  }

  end() {
    this.child.stdin.end();
  }
}

/** Starts the mail server and waits until it listens. */
export async function startMail({ python, packages, smtpPort }) {
  const mail = new Talker(python, ['mail.py', String(smtpPort)], { PYTHONPATH: packages });
  await eventually('the mail server listens', () => mail.said.some((line) => line.listening));
  return {
    /** Returns the letters to an address so far. */
    to: (address) => mail.said.filter((line) => line.to?.includes(address)),
    /** Returns the addresses that were refused once. */
    refused: () => mail.said.filter((line) => line.refused).map((line) => line.refused),
    end: () => mail.end(),
  };
}

/** Returns what Python's standardwebhooks says of deliveries, in their order. */
export async function verifyInPython({ python, packages }, deliveries) {
  const verifier = new Talker(python, ['verify.py'], { PYTHONPATH: packages });
  for (const delivery of deliveries) verifier.child.stdin.write(`${JSON.stringify(delivery)}\n`);
  verifier.end();
  await eventually('Python has looked at all', () => verifier.said.length === deliveries.length);
  return verifier.said;
}

/** A Redis server that the suite may flush, stop and start again. */
export class Redis {
  constructor({ program, port, folder }) {
    Object.assign(this, { program, port, folder });
  }

  async start() {
    const args = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.folder, '--save', '', '--appendonly', 'no'];
    this.child = spawn(this.program, args, { stdio: 'ignore' });
    await eventually('Redis answers', () => this.say('PING').then((answer) => answer.startsWith('+PONG'), () => false));
  }

  /** Sends a command and returns the first of the answer. */
  say(command) {
    return new Promise((resolve, reject) => {
      const socket = net.connect(this.port, '127.0.0.1');
      socket.setTimeout(2_000, () => socket.destroy(new Error('Redis says nothing')));
      socket.on('error', reject);
      socket.on('connect', () => socket.write(`${command}\r\n`));
      socket.on('data', (data) => {
        resolve(data.toString());
        socket.destroy();
      });
      socket.on('close', () => resolve(''));
    });
  }

  async stop() {
    if (!this.child) return;
    const ended = new Promise((resolve) => this.child.on('exit', resolve));
    this.child.kill('SIGKILL');
    await ended;
    this.child = undefined;
  }
}

/** A proxy in front of the server that breaks what goes through it when told. */
export class Proxy {
  constructor(base) {
    this.target = new URL(base);
    this.sockets = new Set();
    this.server = net.createServer((client) => {
      const server = net.connect(Number(this.target.port), this.target.hostname);
      for (const [one, other] of [[client, server], [server, client]]) {
        this.sockets.add(one);
        one.pipe(other);
        one.on('error', () => other.destroy());
        one.on('close', () => {
          this.sockets.delete(one);
          other.destroy();
        });
      }
    });
  }

  async start() {
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.base = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  /** Breaks everything that is open. */
  cut() {
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  end() {
    this.cut();
    this.server.close();
  }
}
