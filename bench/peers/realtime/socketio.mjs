// A Socket.IO server with npm's `socket.io`, default settings: a middleware that wants a token, as
// its documentation shows it, and one room. POST /publish sends its body to the room.

import http from 'node:http';
import { Server } from 'socket.io';
import { announce } from './announce.mjs';

const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    io.to('role:staff').emit('inventory:update', JSON.parse(Buffer.concat(parts).toString()));
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': 2 }).end('{}');
  });
});
const io = new Server(server);
io.use((socket, next) => (socket.handshake.auth.token ? next() : next(new Error('no token'))));
io.on('connection', (socket) => socket.join('role:staff'));
announce(server);
