// An OpenID Connect provider for tests: the package oidc-provider behind the HTTP server of Node.
//
// node oidc-provider.mjs DIRECTORY PORT   DIRECTORY has node_modules with oidc-provider
//
// The login page asks for a name and for how the person proves it: "urn:example:loa:1", or "urn:example:loa:2" by a second
// factor. A session that is weaker than what is asked for is asked again.
//
// POST /clients (JSON) registers a client in place of the former one; POST /next-key signs with another key from then on, and
// takes the former back

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [directory, port] = process.argv.slice(2);
const entry = join(directory, 'node_modules/oidc-provider/lib/index.js');
const { Provider, interactionPolicy } = await import(pathToFileURL(entry));

const issuer = `http://127.0.0.1:${port}`;
const methods = { 'urn:example:loa:1': ['pwd'], 'urn:example:loa:2': ['pwd', 'hwk'] };
const levels = Object.keys(methods);
let clients = [];
let keyNumber = 0;
let provider;

function makeKey() {
  keyNumber += 1;
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid: `key-${keyNumber}`, alg: 'ES256', use: 'sig' };
}
let key = makeKey();

function loginPolicy() {
  const { base, Check } = interactionPolicy;
  const policy = base();
  policy.get('login').checks.add(new Check('weak', 'a stronger login is asked for', ({ oidc }) => {
    const asked = oidc.params.acr_values?.split(' ') ?? [];
    return asked.length > 0 && !asked.includes(oidc.session.acr) ? Check.REQUEST_PROMPT : Check.NO_NEED_TO_PROMPT;
  }));
  return policy;
}

// Whoever logs in has agreed.
async function loadExistingGrant({ oidc }) {
  const { clientId } = oidc.client;
  const grant = new oidc.provider.Grant({ clientId, accountId: oidc.session.accountId });
  grant.addOIDCScope('openid profile email');
  await grant.save();
  return grant;
}

async function findAccount(_, accountId) {
  const email = `${accountId}@corp.example`;
  const claims = () => ({ sub: accountId, email, email_verified: true, name: accountId, groups: ['dev'] });
  return { accountId, claims };
}

// Logins are kept by the package, beside all providers that are made here.
function makeProvider() {
  provider = new Provider(issuer, {
    clients,
    jwks: { keys: [key] },
    acrValues: levels,
    claims: { openid: ['sub', 'acr', 'amr', 'auth_time'], email: ['email', 'email_verified'], profile: ['name', 'groups'] },
    cookies: { keys: ['the same for all'] },
    features: {
      backchannelLogout: { enabled: true },
      devInteractions: { enabled: false },
      pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true },
      rpInitiatedLogout: { enabled: true, logoutSource: (ctx, form) => { ctx.body = form; } },
    },
    // Its own way asks no address of this machine.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    findAccount,
    loadExistingGrant,
    interactions: { url: (_, { uid }) => `/interaction/${uid}`, policy: loginPolicy() },
    pkce: { required: () => true },
  });
  provider.on('server_error', (_, error) => console.error(error));
  provider.on('backchannel.error', (_, error) => console.error(error));
}
makeProvider();

async function readBody(request) {
  let body = '';
  for await (const piece of request) body += piece;
  return body;
}

async function serve(request, response) {
  const place = `${request.method} ${new URL(request.url, issuer).pathname}`;
  if (place === 'POST /clients') {
    clients = [JSON.parse(await readBody(request))];
    makeProvider();
    response.end();
  } else if (place === 'POST /next-key') {
    key = makeKey();
    makeProvider();
    response.end();
  } else if (place.startsWith('GET /interaction/')) {
    await provider.interactionDetails(request, response);
    response.setHeader('Content-Type', 'text/html');
    response.end(`<!doctype html><form method="post" action="${request.url}">
      <label for="user">Name</label><input id="user" name="user">
      <select name="level">${levels.map((level) => `<option>${level}</option>`).join('')}</select>
      <button>Sign in</button></form>`);
  } else if (place.startsWith('POST /interaction/')) {
    const form = new URLSearchParams(await readBody(request));
    const login = { accountId: form.get('user'), acr: form.get('level'), amr: methods[form.get('level')] };
    await provider.interactionFinished(request, response, { login });
  } else {
    provider.callback()(request, response);
  }
}

createServer((request, response) => {
  serve(request, response).catch((error) => {
    console.error(error);
    response.writeHead(500).end(String(error));
  });
}).listen(Number(port), '127.0.0.1');
