// An event source with history, by npm's sse-channel: `node ticker.mjs 3002`. Every two seconds an event; what is posted
// to /events is an event too.

import { createServer } from 'node:http';

import SseChannel from 'sse-channel';

const channel = new SseChannel({ historySize: 1_000, pingInterval: 15_000, retryTimeout: 500 });
let number = 0;
const send = (data) => channel.send({ id: String((number += 1)), event: 'tick', data });
setInterval(() => send(new Date().toISOString()), 2_000).unref();

createServer(async (request, response) => {
  if (request.url.split('?')[0] !== '/events') return void response.writeHead(404).end();
  if (request.method === 'GET') return void channel.addClient(request, response);
  let text = '';
  request.setEncoding('utf8');
  for await (const part of request) text += part;
  send(text);
  response.writeHead(202, { 'content-type': 'application/json' }).end(JSON.stringify({ id: number }));
}).listen(Number(process.argv[2]), '127.0.0.1');
