// A small inventory service with Express and node-postgres, as people write it for production: one
// process. Says where it listens in one line on standard output.

import express from 'express';
import { begin, failure } from './answers.mjs';
import { items } from './items.mjs';

const app = express();
app.disable('x-powered-by');
// Entity tags are versions, not hashes of bodies.
app.disable('etag');
app.use(begin, express.json({ limit: '1mb' }), items);
app.use(failure);

const server = app.listen(0, '127.0.0.1', 1024, () => {
  const { address, port } = server.address();
  console.log(JSON.stringify({ address: `${address}:${port}` }));
});
server.keepAliveTimeout = 60_000;
