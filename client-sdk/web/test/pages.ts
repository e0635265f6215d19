/** What tests of pages share: pages that are closed afterwards, and waiting for what shall be. */
import { afterEach, expect, vi } from 'vitest';
import type { Browser, Page } from './tab.js';

const pages: Page[] = [];

afterEach(async () => {
  await Promise.all(pages.splice(0).map(({ client }) => client.close()));
});

export async function open(browser: Browser, ...rest: Parameters<Browser['open']>): Promise<Page> {
  const page = await browser.open(...rest);
  pages.push(page);
  return page;
}

export async function until(condition: () => boolean): Promise<void> {
  await vi.waitFor(() => expect(condition()).toBe(true), { timeout: 3_000, interval: 5 });
}

export function saved({ client }: Page): Promise<void> {
  return until(() => client.status.state === 'saved');
}

/** Everything that is told under a name from now on. */
export function heard<T>(page: Page, type: Parameters<Page['client']['addEventListener']>[0]): T[] {
  const details: T[] = [];
  page.client.addEventListener(type, ({ detail }) => details.push(structuredClone(detail) as T));
  return details;
}
