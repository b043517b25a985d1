// A plain WebSocket server with npm's `ws`: every socket gets every message. It checks nobody.
// POST /publish sends its body to all sockets.

import http from 'node:http';
import { WebSocketServer } from 'ws';
import { announce } from './announce.mjs';

const HEARTBEAT_MS = 20_000;
const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const text = Buffer.concat(parts).toString();
    for (const socket of sockets.clients) socket.send(text);
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': 2 }).end('{}');
  });
});
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
setInterval(() => sockets.clients.forEach((socket) => socket.ping()), HEARTBEAT_MS);
announce(server);
