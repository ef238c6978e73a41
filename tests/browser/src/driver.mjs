// Drives one Chromium for a test. Reads a command as JSON from each line of standard input, and answers with a line of JSON:
// {"ok": value} or {"error": text}.
//
// node driver.mjs DIRECTORY CHROMIUM [ARGUMENT…]   DIRECTORY has node_modules with playwright-core and axe-core.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { join } from 'node:path';

const [directory, executablePath, ...more] = process.argv.slice(2);
const require = createRequire(join(directory, 'node_modules', 'none.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

// How long a page may take to show what a test waits for, on a busy machine.
const PATIENCE = 60_000;
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--no-proxy-server', ...more] });
let context;
let page;
let complaints = [];

function watch(opened) {
  opened.setDefaultTimeout(PATIENCE);
  opened.on('pageerror', (error) => complaints.push(`script: ${error.message}`));
  opened.on('console', (message) => {
    // A page that answers with an error is one of the pages under test.
    const isStatus = message.text().startsWith('Failed to load resource: the server responded with a status');
    if (message.type() === 'error' && !isStatus) complaints.push(`console: ${message.text()}`);
  });
  return opened;
}

async function find({ role, name, label, text }) {
  let found;
  if (role) found = page.getByRole(role, { name, exact: true });
  else if (label) found = page.getByLabel(label, { exact: true });
  else found = page.getByText(text);
  await found.first().waitFor();
  return found.first();
}

const commands = {
  // Opens a browser without cookies.
  async open({ scripts }) {
    await context?.close();
    context = await browser.newContext({ viewport: DESKTOP, javaScriptEnabled: scripts, ignoreHTTPSErrors: false });
    page = watch(await context.newPage());
    complaints = [];
  },
  async forget() {
    await context.clearCookies();
  },
  async go({ url }) {
    const response = await page.goto(url);
    return response?.status() ?? 0;
  },
  // Waits until the page shows an element of this role and name, a field with this label, or a text.
  async await({ role, name, label, text }) {
    await find({ role, name, label, text });
  },
  async press({ role, name }) {
    await (await find({ role, name })).click();
  },
  async fill({ label, text }) {
    await (await find({ label })).fill(text);
  },
  async key({ key }) {
    await page.keyboard.press(key);
  },
  // The text of what has the focus.
  async focused() {
    return page.evaluate(() => document.activeElement?.textContent?.trim() ?? '');
  },
  async text() {
    return page.locator('body').innerText();
  },
  async url() {
    return page.url();
  },
  // What axe finds, what overflows the window, and what the browser has complained of.
  async check() {
    const problems = complaints.splice(0);
    for (const size of [DESKTOP, PHONE]) {
      for (const colorScheme of ['light', 'dark']) {
        await page.setViewportSize(size);
        await page.emulateMedia({ colorScheme });
        const where = `${size.width} px, ${colorScheme}`;
        await page.evaluate(axe);
        const report = await page.evaluate(() => globalThis.axe.run());
        for (const violation of report.violations) {
          const places = violation.nodes.map((node) => node.html).join(' ');
          problems.push(`axe, ${where}: ${violation.impact}: ${violation.id}: ${violation.help}: ${places}`);
        }
        const wide = await page.evaluate(() => {
          if (document.documentElement.scrollWidth <= innerWidth) return null;
          const reaches = (element) => element.getBoundingClientRect().right > innerWidth || element.scrollWidth > element.clientWidth + 1;
          return [...document.querySelectorAll('body *')].filter(reaches).map((element) => element.outerHTML.slice(0, 300));
        });
        if (wide) problems.push(`${where}: the page is wider than the window: ${wide.join(' ')}`);
      }
    }
    await page.setViewportSize(DESKTOP);
    return problems;
  },
  // Saves the page as PREFIX-desktop-light.png and so on.
  async screenshots({ prefix }) {
    for (const [name, size] of [['desktop', DESKTOP], ['phone', PHONE]]) {
      for (const colorScheme of ['light', 'dark']) {
        await page.setViewportSize(size);
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: `${prefix}-${name}-${colorScheme}.png`, fullPage: true });
      }
    }
    await page.setViewportSize(DESKTOP);
  },
  // Takes the network away, or gives it back; that something does not load meanwhile is no complaint.
  async connect({ connected }) {
    await context.setOffline(!connected);
    complaints = [];
  },
  // Gives the browser a passkey device that says yes to everything.
  async authenticator() {
    const session = await context.newCDPSession(page);
    await session.send('WebAuthn.enable');
    const options = {
      protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true,
    };
    await session.send('WebAuthn.addVirtualAuthenticator', { options });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...options } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: (await commands[command](options)) ?? null };
  } catch (error) {
    const shown = await page?.locator('body').innerText().catch(() => '');
    answer = { error: `${error.message}\n${page?.url()} shows:\n${shown}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
