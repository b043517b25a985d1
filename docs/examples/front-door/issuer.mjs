// An OpenID Connect issuer by npm's oauth2-mock-server: `node issuer.mjs 9000`. It believes everybody; who asks for a token
// with `client_id=NAME@TENANT` and `scope=ROLE` is that. Real installations name their own issuer in gateway.toml.

import { OAuth2Server } from 'oauth2-mock-server';

const server = new OAuth2Server();
await server.issuer.keys.generate('ES256');
server.service.on('beforeTokenSigning', (token, request) => {
  const [name, tenant] = String(request.body.client_id).split('@');
  Object.assign(token.payload, { sub: name, tenant, aud: 'front-door', roles: [String(request.body.scope)] });
});
await server.start(Number(process.argv[2]), '127.0.0.1');
