import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Status } from '../src/api.js';
import { pageEnvironment } from '../src/tabs/environment.js';
import { FakeBroker } from './broker.js';
import { heard, open, saved, until } from './pages.js';
import { Browser } from './tab.js';

let broker: FakeBroker;
let browser: Browser;

beforeEach(() => {
  broker = new FakeBroker();
  browser = new Browser(broker, { locks: true });
});

describe('who a client is', () => {
  it('web_6 told_5 what is refused for good is not shown again until the app says so', async () => {
    broker.unauthorized = 'refused';
    const page = await open(browser);
    await until(() => page.client.status.state === 'needs_auth');
    await page.client.publish('star_album', { album_id: 'a1' });
    const status = { state: 'needs_auth', pending: 1, retryAt: null, reason: 'not this one' };
    expect(page.client.status).toEqual(status);
    page.environment.wake();
    // Until another page has tried, this one would have, too.
    const other = await open(new Browser(broker, { locks: true }));
    await until(() => other.client.status.state === 'needs_auth');
    expect(page.client.status).toEqual(status);
    expect(broker.attempts).toBe(2);
    broker.unauthorized = undefined;
    page.client.setOnline(true);
    await saved(page);
    expect(broker.log).toHaveLength(1);
    expect(broker.attempts).toBe(3);
  });

  it('web_6 what may be had later is asked for with the usual delays, and the status says so all the while', async () => {
    broker.unauthorized = 'no_credentials';
    const page = await open(browser);
    const told = heard<Status>(page, 'status');
    page.environment.luck = 0.01;
    await until(() => broker.attempts >= 5);
    expect(new Set(told.map(({ state }) => state))).toEqual(new Set(['needs_auth']));
    expect(page.client.status).toMatchObject({
      retryAt: expect.any(Number) as number,
      reason: 'not this one',
    });
    broker.unauthorized = undefined;
    await saved(page);
  });

  it('web_6 another end than a refusal is told as what it is', async () => {
    broker.unauthorized = 'no_credentials';
    const page = await open(browser);
    await until(() => page.client.status.state === 'needs_auth');
    broker.unauthorized = undefined;
    broker.reachable = false;
    await until(() => page.client.status.state === 'offline');
    expect(page.client.status).toMatchObject({ reason: 'unreachable' });
  });

  it('web_6 switching off says so, and switching on tries at once', async () => {
    broker.unauthorized = 'refused';
    const page = await open(browser);
    await until(() => page.client.status.state === 'needs_auth');
    page.client.setOnline(false);
    expect(page.client.status).toMatchObject({ state: 'offline', retryAt: null, reason: 'switched off' });
    page.client.setOnline(true);
    expect(page.client.status.state).toBe('connecting');
    await until(() => page.client.status.state === 'needs_auth');
    expect(broker.attempts).toBe(2);
  });
});

describe('a page that wakes', () => {
  it('web_10 is one that is shown, resumed or has a network again, and not one that is hidden', () => {
    const [window, document] = [new EventTarget(), { visibilityState: 'visible' }];
    vi.stubGlobal('addEventListener', window.addEventListener.bind(window));
    vi.stubGlobal('removeEventListener', window.removeEventListener.bind(window));
    vi.stubGlobal('document', document);
    const woken: string[] = [];
    let type = '';
    const stop = pageEnvironment().onWake(() => woken.push(type));
    const all = ['online', 'pageshow', 'resume', 'visibilitychange'];
    const happen = (): void => all.forEach((one) => window.dispatchEvent(new Event((type = one))));
    happen();
    expect(woken).toEqual(all);
    document.visibilityState = 'hidden';
    window.dispatchEvent(new Event('visibilitychange'));
    stop();
    happen();
    vi.unstubAllGlobals();
    expect(woken).toEqual(all);
  });

  it('web_10 told_6 replaces a connection at once that does not answer', async () => {
    const page = await open(browser);
    await saved(page);
    // Else a retry would be at once anyway.
    page.environment.luck = 0.999;
    broker.deaf = true;
    const soonAfter = new Promise((told) =>
      page.client.addEventListener('status', ({ detail }) => {
        if (detail.state === 'offline') setTimeout(() => told(page.client.status.state));
      }),
    );
    page.environment.wake();
    expect(await soonAfter).not.toBe('offline');
    await until(() => broker.joined.length === 2);
    await saved(page);
    expect(broker.probes).toBe(1);
  });

  it('web_10 leaves one alone that answers, and asks once however often it wakes', async () => {
    const page = await open(browser);
    await saved(page);
    const told = heard<Status>(page, 'status');
    page.environment.wake();
    page.environment.wake();
    await until(() => broker.probes > 0);
    await (
      await page.client.publish('star_album', { album_id: 'a1' })
    ).saved;
    expect([broker.joined.length, broker.probes]).toEqual([1, 1]);
    expect(told.map(({ state }) => state)).not.toContain('connecting');
  });

  it('web_10 tries at once instead of waiting, but not for an app that is switched off', async () => {
    broker.reachable = false;
    const page = await open(browser);
    page.environment.luck = 0.999;
    await until(() => page.client.status.state === 'offline');
    broker.reachable = true;
    page.environment.wake();
    expect(page.client.status.state).toBe('connecting');
    await saved(page);
    page.client.setOnline(false);
    page.environment.wake();
    expect(page.client.status).toMatchObject({ state: 'offline', retryAt: null });
  });
});
