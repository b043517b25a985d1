// A relay of bytes in front of a server, which writes down what comes from the door: the origin's own view. Not for judging.

import { connect, createServer } from 'node:net';

const HEAD = /(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (\S+) HTTP\/1\.1\r\n([\s\S]*?)\r\n\r\n/g;

export class Tap {
  constructor(listen, port) {
    Object.assign(this, { listen, port, streams: [], sockets: new Set() });
  }

  /** Begins to take connections. */
  open() {
    this.server = createServer((client) => this.relay(client));
    return new Promise((resolve, reject) => this.server.on('error', reject).listen(this.listen, '127.0.0.1', resolve));
  }

  relay(client) {
    const origin = connect(this.port, '127.0.0.1');
    const heard = [];
    this.streams.push(heard);
    client.on('data', (data) => {
      heard.push(data);
      client.last = data.toString('latin1');
    });
    for (const [one, other] of [[client, origin], [origin, client]]) {
      this.sockets.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.sockets.delete(one);
        other.destroy();
      });
    }
  }

  /** Breaks all connections. */
  cut() {
    for (const socket of this.sockets) socket.destroy();
  }

  /** Refuses connections from now on. */
  async close() {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.cut();
    await closed;
  }

  /** Forgets what was heard. */
  forget() {
    for (const heard of this.streams) heard.length = 0;
    this.streams = this.streams.slice(-64);
  }

  /** Returns the bytes that came, as Latin-1. */
  text() {
    return this.streams.map((heard) => Buffer.concat(heard).toString('latin1')).join('\n');
  }

  /** Returns the requests that came: method, path and fields. */
  requests() {
    const found = [];
    for (const heard of this.streams) {
      for (const [, method, path, fields] of Buffer.concat(heard).toString('latin1').matchAll(HEAD)) {
        const lines = fields.split('\r\n').map((line) => line.split(': '));
        found.push({ method, path, fields: lines, headers: Object.fromEntries(lines.map(([name, ...value]) => [name.toLowerCase(), value.join(': ')])) });
      }
    }
    return found;
  }

  /** Returns how many connections are open on which the last request was for a stream. */
  streaming() {
    return [...this.sockets].filter((socket) => /text\/event-stream/.test(socket.last ?? '')).length;
  }
}
