// An OpenID provider for browsers: a page of another site on which somebody lets themselves in.

import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { createServer } from 'node:http';

import { freePort } from './relay.mjs';

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

export class Provider {
  codes = new Map();
  /** Who lets themselves in. */
  claims = { sub: '1', preferred_username: 'bea' };

  /** Its address names the machine by another word than the broker's: to a browser that is another site. */
  static async open() {
    const provider = new Provider();
    Object.assign(provider, generateKeyPairSync('ed25519'));
    provider.port = await freePort();
    provider.issuer = `http://localhost:${provider.port}`;
    provider.server = createServer((request, answer) => void provider.answer(request, answer));
    await new Promise((listening) => provider.server.listen(provider.port, 'localhost', listening));
    return provider;
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }

  async answer(request, answer) {
    const { pathname, searchParams } = new URL(request.url, this.issuer);
    const json = (value, status = 200) => {
      answer.writeHead(status, { 'Content-Type': 'application/json' });
      answer.end(JSON.stringify(value));
    };
    if (pathname === '/.well-known/openid-configuration') return json(this.configuration());
    if (pathname === '/jwks') {
      return json({ keys: [{ ...this.publicKey.export({ format: 'jwk' }), kid: '1', use: 'sig', alg: 'EdDSA' }] });
    }
    if (pathname === '/authorize') return this.authorize(searchParams, answer);
    if (pathname === '/token') {
      const pieces = [];
      for await (const piece of request) pieces.push(piece);
      const token = this.token(new URLSearchParams(Buffer.concat(pieces).toString()));
      return token ? json({ access_token: 'unused', token_type: 'Bearer', id_token: token }) : json({ error: 'invalid_grant' }, 400);
    }
    answer.writeHead(204).end();
  }

  configuration() {
    const { issuer } = this;
    return {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['EdDSA'],
    };
  }

  authorize(asked, answer) {
    const code = randomBytes(16).toString('hex');
    this.codes.set(code, asked);
    const back = `${asked.get('redirect_uri')}?code=${code}&state=${asked.get('state')}`;
    answer.writeHead(200, { 'Content-Type': 'text/html' });
    answer.end(`<!doctype html><title>Provider</title><a href="${back.replace('&', '&amp;')}">Let me in</a>`);
  }

  token(shown) {
    const begun = this.codes.get(shown.get('code'));
    this.codes.delete(shown.get('code'));
    const challenge = createHash('sha256').update(shown.get('code_verifier')).digest('base64url');
    if (begun?.get('code_challenge') !== challenge) return null;
    const now = Math.floor(Date.now() / 1000);
    const claims = { ...this.claims, iss: this.issuer, aud: 'moorline', nonce: begun.get('nonce'), iat: now, exp: now + 60 };
    const signed = `${part({ alg: 'EdDSA', kid: '1', typ: 'JWT' })}.${part(claims)}`;
    return `${signed}.${sign(null, Buffer.from(signed), this.privateKey).toString('base64url')}`;
  }
}
