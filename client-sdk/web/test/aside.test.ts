import 'fake-indexeddb/auto';
import { openDB } from 'idb';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SetAside } from '../src/api.js';
import type { IntentRow, Write } from '../src/core/messages.js';
import { fileStorage } from '../src/node/index.js';
import { IndexedDbStore } from '../src/storage/indexeddb.js';
import { MemoryStore } from '../src/storage/memory.js';
import { asideId, type AsideRow, type Store, type StoreWrite } from '../src/storage/store.js';
import { FakeBroker } from './broker.js';
import { heard, open, saved, until } from './pages.js';
import { Browser, type Page } from './tab.js';

const folder = mkdtempSync(join(tmpdir(), 'syncline-files-'));
afterAll(() => rmSync(folder, { recursive: true }));
const openFiles = (name: string): Promise<Store> => fileStorage(folder).open(name);

const SLOT = '0b0e7a52-6d0c-4a53-9a5e-2f1f0c9d1a01';

function intent(id: number): IntentRow {
  const clock = { timestamp: 1, counter: 0 };
  const eventData = { album_id: `a${id}` };
  return {
    id,
    eventType: 'star_album',
    eventData,
    deviceUuid: SLOT,
    deviceSeq: id,
    clock,
    baseSeq: 0,
    epoch: null,
  };
}

function row(id: number): AsideRow {
  return { id: asideId(1, SLOT, id), intent: intent(id), refusal: 'not_allowed', reason: 'read only' };
}

function setting(aside: readonly AsideRow[], put: Write['put'] = {}): StoreWrite {
  return { type: 'write', write: 1, put, delete: aside.map((one) => one.intent.id), aside };
}

describe.each([
  ['memory', async () => new MemoryStore(), async (store: Store) => store],
  ['files', openFiles, (_: Store, name: string) => openFiles(name)],
  ['indexeddb', IndexedDbStore.open, (_: Store, name: string) => IndexedDbStore.open(name)],
])('a store, %s', (_kind, openStore, openAgain) => {
  const name = `aside ${Math.random()}`;

  it('told_3 keeps what is set aside in place of the intent, until it is dismissed', async () => {
    const store = await openStore(name);
    await store.create(SLOT, 'me', 1);
    const put = { intents: [intent(1), intent(2)] };
    await store.write(SLOT, 'me', [{ type: 'write', write: 1, put, delete: [] }]);
    await store.write(SLOT, 'me', [setting([row(1)])]);
    expect([(await store.read(SLOT, 'me')).intents, await store.aside()]).toEqual([[intent(2)], [row(1)]]);
    await expect(store.write(SLOT, 'another', [setting([row(2)])])).rejects.toThrow('taken over');
    expect(await store.aside()).toEqual([row(1)]);
    await store.forget(SLOT, 'me');
    expect(await store.aside()).toEqual([row(1)]);
    await store.dismiss(row(2).id);
    expect(await store.aside()).toEqual([row(1)]);
    await store.dismiss(row(1).id);
    expect(await store.aside()).toEqual([]);
    store.close();
  });

  it('told_4 told_3 a wipe takes it along', async () => {
    const store = await openStore(name);
    await store.create(SLOT, 'me', 1);
    await store.write(SLOT, 'me', [setting([row(1)])]);
    await store.wipe();
    store.close();
    const again = await openAgain(store, name);
    expect(await again.aside()).toEqual([]);
    again.close();
  });
});

it('told_3 a store of the first layout keeps what it has', async () => {
  const name = `old ${Math.random()}`;
  const old = await openDB(name, 1, {
    upgrade: (db) => {
      db.createObjectStore('slots', { keyPath: 'slot' });
      for (const one of ['intents', 'replicas', 'schemas']) db.createObjectStore(one);
    },
  });
  const device = { deviceUuid: SLOT, nextDeviceSeq: 2, offered: 0, timestamp: 0, counter: 0 };
  await old.put('slots', { slot: SLOT, owner: 'me', usedAt: 1, device });
  await old.put('intents', intent(1), [SLOT, 1]);
  old.close();
  const store = await IndexedDbStore.open(name);
  expect(await store.read(SLOT, 'me')).toEqual({ device, intents: [intent(1)] });
  await store.write(SLOT, 'me', [setting([row(1)])]);
  expect([(await store.read(SLOT, 'me')).intents, await store.aside()]).toEqual([[], [row(1)]]);
  store.close();
});

describe('a client', () => {
  let broker: FakeBroker;
  let browser: Browser;

  beforeEach(() => {
    broker = new FakeBroker();
    browser = new Browser(broker, { locks: true });
    broker.refused.set('star_album', { name: 'not_allowed', reason: 'read only' });
  });

  async function refused(page: Page, album: string): Promise<SetAside> {
    const before = page.client.setAside().length;
    const receipt = await page.client.publish('star_album', { album_id: album });
    await expect(receipt.saved).rejects.toMatchObject({ refusal: 'not_allowed' });
    await until(() => page.client.setAside().length > before);
    return page.client.setAside().at(-1) as SetAside;
  }

  it('told_3 shows what was set aside after a reload, and no more once it is dismissed', async () => {
    const page = await open(browser);
    await saved(page);
    const [first, second] = [await refused(page, 'a1'), await refused(page, 'a2')];
    expect(second).toMatchObject({ eventType: 'star_album', eventData: { album_id: 'a2' } });
    await page.vanish();
    const again = await open(browser, page.memory);
    expect(again.client.setAside()).toEqual([first, second]);
    const updated = vi.fn();
    again.client.subscribe(updated);
    await expect(again.client.dismiss(first.id)).resolves.toBe(true);
    await expect(again.client.dismiss(first.id)).resolves.toBe(false);
    expect(updated).toHaveBeenCalled();
    expect(again.client.setAside()).toEqual([second]);
    await again.vanish();
    await expect(again.client.dismiss(second.id)).rejects.toThrow('closed');
    expect((await open(browser, again.memory)).client.setAside()).toEqual([second]);
  });

  it('told_3 keeps the last 1,000', async () => {
    const store = await browser.openStore();
    await store.create(SLOT, 'me', 1);
    const rows = Array.from({ length: 1_000 }, (_, i) => row(i + 1));
    await store.write(SLOT, 'me', [setting(rows)]);
    const page = await open(browser, undefined, store);
    await saved(page);
    expect(page.client.setAside().map(({ id }) => id)).toEqual(rows.map(({ id }) => id));
    const kept = async (): Promise<string[]> => (await store.aside()).map(({ id }) => id);
    const receipt = await page.client.publish('star_album', { album_id: 'a' });
    await expect(receipt.saved).rejects.toMatchObject({ refusal: 'not_allowed' });
    await until(() => page.client.setAside()[0]?.id === row(2).id);
    const ids = page.client.setAside().map(({ id }) => id);
    expect([ids.length, await kept()]).toEqual([1_000, ids]);
  });

  it('told_3 tells it only when it is kept, and it is sent and set aside again if it is not', async () => {
    const store = await browser.openStore();
    const page = await open(browser, undefined, store);
    await saved(page);
    const write = store.write.bind(store);
    let failed = 0;
    store.write = async (slot, owner, writes) => {
      if (writes.every(({ aside }) => aside === undefined)) return write(slot, owner, writes);
      failed += 1;
      throw new Error('the disk is gone');
    };
    const told = heard<SetAside>(page, 'setaside');
    const receipt = await page.client.publish('star_album', { album_id: 'a1' });
    await expect(receipt.saved).rejects.toMatchObject({ refusal: 'not_allowed' });
    await until(() => page.client.status.state === 'offline');
    expect([failed, told, page.client.setAside()]).toEqual([1, [], []]);
    await page.vanish();
    const again = await open(browser, page.memory);
    await until(() => again.client.setAside().length === 1);
    expect(again.client.pendingEvents()).toEqual([]);
  });

  it('web_5 told_3 keeps what a closed tab had refused', async () => {
    broker.reachable = false;
    const [here, gone] = [await open(browser), await open(browser)];
    await gone.client.publish('star_album', { album_id: 'a1' });
    await gone.vanish();
    broker.reachable = true;
    here.environment.wake();
    await until(() => here.client.setAside().length === 1);
    await here.vanish();
    const again = await open(browser, here.memory);
    expect(again.client.setAside().map(({ eventData }) => eventData)).toEqual([{ album_id: 'a1' }]);
  });
});
