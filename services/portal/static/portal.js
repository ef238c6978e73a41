// Adds a passkey, and logs in with one. Every other page works without scripts.
'use strict';

const decode = (text) => {
  const base64 = text.replaceAll('-', '+').replaceAll('_', '/');
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
};

const encode = (buffer) => {
  const bytes = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte));
  return btoa(bytes.join('')).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
};

const decodeIds = (credentials) => (credentials ?? []).map((known) => ({ ...known, id: decode(known.id) }));

const post = async (url, body) => {
  const headers = { 'Content-Type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.problem);
  return answer;
};

// The browser's own words for a passkey that was cancelled help nobody, nor do those for a server that does not answer.
const describe = (error, form) => {
  if (error instanceof DOMException) return form.dataset.failed;
  return error instanceof TypeError ? form.dataset.unreachable : error.message;
};

const addPasskey = async (form) => {
  const { token } = form.dataset;
  const options = await post('/admin/passkeys/begin', { token });
  options.challenge = decode(options.challenge);
  options.user.id = decode(options.user.id);
  options.excludeCredentials = decodeIds(options.excludeCredentials);
  const made = await navigator.credentials.create({ publicKey: options });
  const response = JSON.stringify({
    id: made.id,
    rawId: encode(made.rawId),
    type: made.type,
    response: {
      attestationObject: encode(made.response.attestationObject),
      clientDataJSON: encode(made.response.clientDataJSON),
      transports: made.response.getTransports?.() ?? [],
    },
    extensions: {},
  });
  await post('/admin/passkeys/finish', { token, name: form.elements.name.value, response });
  location.assign('/admin');
};

const logIn = async (form) => {
  const options = JSON.parse(form.dataset.options);
  options.challenge = decode(options.challenge);
  options.allowCredentials = decodeIds(options.allowCredentials);
  const proven = await navigator.credentials.get({ publicKey: options });
  form.elements.response.value = JSON.stringify({
    id: proven.id,
    rawId: encode(proven.rawId),
    type: proven.type,
    response: {
      authenticatorData: encode(proven.response.authenticatorData),
      clientDataJSON: encode(proven.response.clientDataJSON),
      signature: encode(proven.response.signature),
      userHandle: proven.response.userHandle && encode(proven.response.userHandle),
    },
    extensions: {},
  });
  form.submit();
};

for (const [id, act] of [['passkey-form', addPasskey], ['passkey-login', logIn]]) {
  const form = document.getElementById(id);
  form?.addEventListener('submit', async (event) => {
    event.preventDefault();
    const problem = document.getElementById('passkey-problem');
    problem.textContent = '';
    try {
      await act(form);
    } catch (error) {
      problem.textContent = describe(error, form);
    }
  });
}
