// A plain server of event streams on node:http, as people write it: every stream gets every event.
// It checks nobody and keeps nothing. POST /publish sends its body to all streams.

import http from 'node:http';
import { announce } from './announce.mjs';

const HEARTBEAT_MS = 20_000;
const streams = new Set();
let position = 0;

const server = http.createServer((request, response) => {
  if (request.method !== 'POST') {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    response.write('retry: 3000\n\n');
    streams.add(response);
    request.on('close', () => streams.delete(response));
    return;
  }
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    position += 1;
    const frame = Buffer.from(`id: peer.${position}\nevent: message\ndata: ${Buffer.concat(parts)}\n\n`);
    for (const stream of streams) stream.write(frame);
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': 2 }).end('{}');
  });
});
setInterval(() => streams.forEach((stream) => stream.write(': \n\n')), HEARTBEAT_MS);
announce(server);
