// Makes tokens that no honest library makes, and the attacker who signs them. Everything starts from
// a genuine token, so that each forgery differs from it in what its name says and in the key. Not for
// what the server has to say to them.

import {
  X509Certificate,
  constants,
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  sign,
} from 'node:crypto';
import http from 'node:http';

import { calculateJwkThumbprint } from 'jose';

/** The order of P-256's base point: no r and no s may be as large. */
export const ORDER = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');

/** Returns the base64url text of bytes, of text, or of anything else as JSON. */
export function encode(value) {
  const plain = typeof value === 'string' || Buffer.isBuffer(value);
  return Buffer.from(plain ? value : JSON.stringify(value)).toString('base64url');
}

/** A genuine token, taken apart. */
export function takeApart(token) {
  const [header, payload, signature] = token.split('.');
  const read = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());
  return { token, parts: { header, payload, signature }, header: read(header), claims: read(payload) };
}

/** What signs, by the name that a header gives it. */
const SIGNERS = {
  ES256: { make: () => curve('P-256'), hash: 'sha256', how: { dsaEncoding: 'ieee-p1363' } },
  ES384: { make: () => curve('P-384'), hash: 'sha384', how: { dsaEncoding: 'ieee-p1363' } },
  ES512: { make: () => curve('P-521'), hash: 'sha512', how: { dsaEncoding: 'ieee-p1363' } },
  ES256K: { make: () => curve('secp256k1'), hash: 'sha256', how: { dsaEncoding: 'ieee-p1363' } },
  RS256: { make: () => generateKeyPairSync('rsa', { modulusLength: 2048 }), hash: 'sha256', how: {} },
  PS256: {
    make: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    hash: 'sha256',
    how: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 },
  },
  EdDSA: { make: () => generateKeyPairSync('ed25519'), hash: null, how: {} },
};

/** The algorithms with a key pair that are not ours. */
export const OTHER_ALGORITHMS = Object.keys(SIGNERS).filter((name) => name !== 'ES256');

function curve(namedCurve) {
  return generateKeyPairSync('ec', { namedCurve });
}

/** Returns a fresh key pair for an algorithm. */
export function keyPair(algorithm) {
  return SIGNERS[algorithm].make();
}

/** Signs header and payload, given as objects or as text, with a fresh key of that algorithm or with this one. */
export function signWith(algorithm, header, payload, privateKey = keyPair(algorithm).privateKey) {
  const { hash, how } = SIGNERS[algorithm];
  const message = `${encode(header)}.${encode(payload)}`;
  return `${message}.${sign(hash, Buffer.from(message), { key: privateKey, ...how }).toString('base64url')}`;
}

/** Authenticates header and payload with HMAC. */
export function hmac(algorithm, header, payload, secret) {
  const message = `${encode({ ...header, alg: algorithm })}.${encode(payload)}`;
  return `${message}.${createHmac(algorithm.replace('HS', 'sha'), secret).update(message).digest('base64url')}`;
}

/** Returns a public key in every form that a careless library might take for an HMAC secret. */
export async function asSecrets(jwk, document) {
  const key = createPublicKey({ key: jwk, format: 'jwk' });
  const point = Buffer.concat([Buffer.from(jwk.x, 'base64url'), Buffer.from(jwk.y, 'base64url')]);
  const pem = key.export({ type: 'spki', format: 'pem' });
  return {
    'the JWK as served': JSON.stringify(jwk),
    'the JWK as its thumbprint has it': JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y }),
    'the JWKS document': document,
    'SPKI PEM': pem,
    'SPKI PEM without the last newline': pem.trimEnd(),
    'SPKI DER': key.export({ type: 'spki', format: 'der' }),
    'x and y': point,
    'the uncompressed point': Buffer.concat([Buffer.from([4]), point]),
    'x as text': jwk.x,
    'the thumbprint as text': await calculateJwkThumbprint(jwk),
    'the thumbprint as bytes': Buffer.from(await calculateJwkThumbprint(jwk), 'base64url'),
    'nothing': '',
  };
}

/** Whoever wants in: a key pair, a certificate, and a server that offers both to whoever asks. */
export class Attacker {
  /** Starts the attacker's server. */
  static async start() {
    const attacker = new Attacker();
    const { privateKey, publicKey } = keyPair('ES256');
    Object.assign(attacker, { privateKey, publicKey });
    const jwk = publicKey.export({ format: 'jwk' });
    attacker.jwk = { ...jwk, alg: 'ES256', use: 'sig', kid: await calculateJwkThumbprint(jwk) };
    attacker.certificate = selfSigned(publicKey, privateKey);
    attacker.asked = [];
    attacker.server = http.createServer((request, response) => {
      attacker.asked.push(request.url);
      response.end(request.url.endsWith('.pem') ? pem(attacker.certificate) : JSON.stringify({ keys: [attacker.jwk] }));
    });
    await new Promise((resolve) => attacker.server.listen(0, '127.0.0.1', resolve));
    attacker.address = `http://127.0.0.1:${attacker.server.address().port}`;
    return attacker;
  }

  /** Signs header and payload with the attacker's key. */
  sign(header, payload) {
    return signWith('ES256', header, payload, this.privateKey);
  }

  /** Ends the server. */
  stop() {
    this.server.close();
  }
}

function pem(certificate) {
  return `-----BEGIN CERTIFICATE-----\n${certificate.toString('base64')}\n-----END CERTIFICATE-----\n`;
}

function der(tag, ...parts) {
  const body = Buffer.concat(parts);
  const long = body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...(body.length < 128 ? [body.length] : long)]), body]);
}

function derInteger(bytes) {
  const start = bytes.findIndex((byte) => byte !== 0);
  const digits = start < 0 ? Buffer.from([0]) : bytes.subarray(start);
  return der(0x02, digits[0] > 0x7f ? Buffer.concat([Buffer.from([0]), digits]) : digits);
}

/** Returns a certificate (RFC 5280, version 1) that a library would take for one. */
function selfSigned(publicKey, privateKey) {
  const ecdsaWithSha256 = der(0x30, der(0x06, Buffer.from('2a8648ce3d040302', 'hex')));
  const commonName = der(0x30, der(0x06, Buffer.from('550403', 'hex')), der(0x0c, Buffer.from('portico')));
  const name = der(0x30, der(0x31, commonName));
  const validity = der(0x30, der(0x17, Buffer.from('200101000000Z')), der(0x17, Buffer.from('491231235959Z')));
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const body = der(0x30, derInteger(Buffer.from([1])), ecdsaWithSha256, name, validity, name, spki);
  const certificate = der(0x30, body, ecdsaWithSha256, der(0x03, Buffer.from([0]), sign('sha256', body, privateKey)));
  if (!new X509Certificate(certificate).verify(publicKey)) throw new Error('the certificate is not sound');
  return certificate;
}

/** Returns the signature as ASN.1 (what OpenSSL gives), not as r and s side by side (what JWS wants). */
export function asDer(signature) {
  const bytes = Buffer.from(signature, 'base64url');
  return encode(der(0x30, derInteger(bytes.subarray(0, 32)), derInteger(bytes.subarray(32))));
}

/** Returns the other signature of the same message by the same key: (r, n - s). */
export function otherS(signature) {
  const bytes = Buffer.from(signature, 'base64url');
  const s = BigInt(`0x${bytes.subarray(32).toString('hex')}`);
  return encode(Buffer.concat([bytes.subarray(0, 32), number(ORDER - s)]));
}

/** Returns a signature of these two numbers. */
export function signatureOf(r, s) {
  return encode(Buffer.concat([number(r), number(s)]));
}

function number(value) {
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex');
}
