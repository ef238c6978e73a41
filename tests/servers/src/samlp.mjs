// A SAML identity provider for tests: the package samlp behind the HTTP server of Node.
//
// node samlp.mjs DIRECTORY PORT KEYS   DIRECTORY has node_modules with samlp; KEYS has key-1.pem, certificate-1.pem, key-2.pem, …
//
// GET /metadata   GET /sso (a request by redirect) shows a form that asks for a name, and POST /sso/ID answers as this person
// GET /tile?service=ENTITY_ID&acs=URL&user=NAME answers a service that has not asked
// POST /next-key signs with the next key from then on

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';

const [directory, port, keys] = process.argv.slice(2);
const require = createRequire(join(directory, 'node_modules', 'none.js'));
const samlp = require('samlp');

const origin = `http://127.0.0.1:${port}`;
const issuer = `${origin}/metadata`;
const PERSISTENT = 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent';
const asked = new Map();
let number = 1;

const key = () => readFileSync(join(keys, `key-${number}.pem`), 'utf8');
const certificate = () => readFileSync(join(keys, `certificate-${number}.pem`), 'utf8');
const escape = (text) => text.replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`);

// The certificates of a service are in its metadata, which its entity id leads to here.
async function findCertificate(entityId) {
  const metadata = await (await fetch(entityId)).text();
  const [, body] = /X509Certificate>([^<]+)</.exec(metadata);
  return `-----BEGIN CERTIFICATE-----\n${body.trim()}\n-----END CERTIFICATE-----\n`;
}

// Writes a page whose button posts the answer, as a person.
function answer(response, service, name, next) {
  const user = {
    id: `id-of-${name}`, displayName: name, name: { givenName: name, familyName: 'Example' },
    emails: [{ value: `${name}@corp.example` }],
  };
  const options = {
    issuer, cert: certificate(), key: key(), signatureAlgorithm: 'rsa-sha256', digestAlgorithm: 'sha256',
    lifetimeInSeconds: 300, nameIdentifierFormat: PERSISTENT, audience: service.issuer,
    recipient: service.acs, destination: service.acs, inResponseTo: service.id,
  };
  samlp.getSamlResponse(options, user, (error, xml) => {
    if (error) return next(error);
    const value = Buffer.from(xml).toString('base64');
    response.setHeader('Content-Type', 'text/html');
    response.end(`<!doctype html><form method="post" action="${escape(service.acs)}">
      <input type="hidden" name="SAMLResponse" value="${value}">
      <input type="hidden" name="RelayState" value="${escape(service.relayState ?? '')}">
      <button>Go on</button></form>`);
  });
}

async function readForm(request) {
  let body = '';
  for await (const piece of request) body += piece;
  return new URLSearchParams(body);
}

async function serve(request, response, next) {
  const url = new URL(request.url, origin);
  const query = Object.fromEntries(url.searchParams);
  const place = `${request.method} ${url.pathname}`;
  if (place === 'GET /metadata') {
    const express = { originalUrl: '', protocol: 'http', headers: { host: `127.0.0.1:${port}` } };
    const write = { set: (name, value) => response.setHeader(name, value), send: (text) => response.end(text) };
    samlp.metadata({ issuer, cert: certificate(), redirectEndpointPath: '/sso', postEndpointPath: '/sso' })(express, write);
  } else if (place === 'GET /sso') {
    const getCredentials = (entityId, _sessions, _name, done) => {
      findCertificate(entityId).then((cert) => done(null, { cert }), done);
    };
    samlp.parseRequest({ method: 'GET', query }, { getCredentials }, (error, found) => {
      if (error) return next(error);
      const id = randomUUID();
      asked.set(id, {
        id: found.id, issuer: found.issuer, acs: found.assertionConsumerServiceURL, relayState: query.RelayState,
      });
      response.setHeader('Content-Type', 'text/html');
      response.end(`<!doctype html><form method="post" action="/sso/${id}">
        <label for="user">Name</label><input id="user" name="user"><button>Sign in</button></form>`);
    });
  } else if (place.startsWith('POST /sso/')) {
    const service = asked.get(url.pathname.slice('/sso/'.length));
    answer(response, service, (await readForm(request)).get('user'), next);
  } else if (place === 'GET /tile') {
    answer(response, { issuer: query.service, acs: query.acs }, query.user, next);
  } else if (place === 'POST /next-key') {
    number += 1;
    response.end();
  } else {
    response.writeHead(404).end();
  }
}

createServer((request, response) => {
  const next = (error) => {
    console.error(error);
    response.writeHead(500).end(String(error));
  };
  serve(request, response, next).catch(next);
}).listen(Number(port), '127.0.0.1');
