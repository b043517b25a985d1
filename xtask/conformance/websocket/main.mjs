// An echo server: what npm's `ws` answers to Autobahn is what the proxy in front of it has to let through.
import { WebSocketServer } from 'ws';

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  maxPayload: 64 * 1024 * 1024,
  // Cases of groups 9.3 and 9.4 send a message in up to 65,536 fragments.
  maxFragments: 0,
  perMessageDeflate: { threshold: 0 },
});
server.on('connection', socket => {
  socket.on('error', () => {});
  socket.on('message', (data, binary) => socket.send(data, { binary }));
});
server.on('listening', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
