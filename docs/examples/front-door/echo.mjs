// A WebSocket echo by npm's ws: `node echo.mjs 3003`.

import { WebSocketServer } from 'ws';

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), path: '/echo' });
server.on('connection', (socket) => {
  socket.on('message', (data, binary) => socket.send(data, { binary }));
  socket.on('error', () => socket.terminate());
});
