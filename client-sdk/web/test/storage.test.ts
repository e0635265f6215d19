import { openDB } from 'idb';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Status } from '../src/api.js';
import type { Write } from '../src/core/messages.js';
import { openSyncline } from '../src/index.js';
import { IndexedDbStore } from '../src/storage/indexeddb.js';
import { MemoryStore } from '../src/storage/memory.js';
import { FakeBroker } from './broker.js';
import { heard, open, saved, until } from './pages.js';
import { Browser, type Page } from './tab.js';

const NOBODY = { url: 'ws://127.0.0.1:1/mqtt', syncId: 'music' };

let broker: FakeBroker;
let browser: Browser;

beforeEach(() => {
  broker = new FakeBroker();
  browser = new Browser(broker, { locks: true });
});
afterEach(() => vi.unstubAllGlobals());

function star({ client }: Page, album: string): ReturnType<Page['client']['publish']> {
  return client.publish('star_album', { album_id: album });
}

function full(): DOMException {
  return new DOMException('no room', 'QuotaExceededError');
}

async function names(): Promise<(string | undefined)[]> {
  return (await indexedDB.databases()).map(({ name }) => name);
}

describe('a wipe', () => {
  it('told_4_web_7 leaves nothing of any tab, closes them all, and says what went with it', async () => {
    broker.reachable = false;
    const [here, there] = [await open(browser), await open(browser)];
    const gone = await open(browser);
    await star(here, 'a1');
    await star(there, 'a2');
    await star(gone, 'a3');
    await gone.vanish();
    await expect(here.client.wipe()).resolves.toEqual({ pending: 3 });
    expect(await names()).not.toContain(browser.name);
    await until(() => there.client.status.state === 'closed');
    for (const { client } of [here, there]) {
      expect(client.status).toMatchObject({ state: 'closed', pending: 0, cause: 'wiped' });
      await expect(client.publish('star_album', { album_id: 'a4' })).rejects.toThrow();
    }
    expect(here.memory.size + there.memory.size).toBe(0);
    broker.reachable = true;
    const next = await open(browser, here.memory);
    await saved(next);
    expect([next.client.entries('albums'), next.client.deviceUuid === here.client.deviceUuid]).toEqual([
      [],
      false,
    ]);
    expect(broker.log).toEqual([]);
  });

  it('web_7 nothing is written by a tab that is wiped in mid-publish', async () => {
    const [here, there] = [await open(browser), await open(browser)];
    await Promise.all([saved(here), saved(there)]);
    there.client.setOnline(false);
    const publishing = Promise.allSettled(Array.from({ length: 50 }, (_, i) => star(there, `a${i}`)));
    await here.client.wipe();
    await publishing;
    expect(await names()).not.toContain(browser.name);
    const receipt = there.client.publish('star_album', { album_id: 'b' });
    await expect(receipt).rejects.toThrow('was wiped');
    expect(await names()).not.toContain(browser.name);
  });

  it('web_7 ends what waits, and a closed client has nothing to wipe with', async () => {
    const page = await open(browser, undefined, new MemoryStore());
    await saved(page);
    const receipt = await star(page, 'a1');
    await receipt.saved;
    const seen = receipt.seenBy('0b0e7a52-6d0c-4a53-9a5e-2f1f0c9d1a01');
    await Promise.all([page.client.wipe(), expect(seen).rejects.toThrow('was wiped')]);
    await expect(page.client.wipe()).rejects.toThrow('open it again to wipe');
    const other = await open(browser, undefined, new MemoryStore());
    await other.client.close();
    await expect(other.client.wipe()).rejects.toThrow('open it again to wipe');
  });

  it('web_7 does not wait for ever for a page that does not let go, and leaves it nothing', async () => {
    const page = await open(browser);
    await saved(page);
    await star(page, 'a1');
    const frozen = await openDB(browser.name);
    try {
      await page.client.wipe();
      expect(await frozen.count('slots')).toBe(0);
      expect(await frozen.count('intents')).toBe(0);
    } finally {
      frozen.close();
    }
    await vi.waitFor(async () => expect(await names()).not.toContain(browser.name));
  });
});

describe('the truth about storage', () => {
  it('web_9 works in memory where the browser gives nothing, and says so', async () => {
    vi.spyOn(indexedDB, 'open').mockImplementationOnce(() => {
      throw new DOMException('denied', 'SecurityError');
    });
    const sync = await openSyncline(NOBODY);
    const fault = new Promise<string>((told) =>
      sync.addEventListener('fault', ({ detail }) => told(`${detail.kind}: ${detail.detail}`)),
    );
    expect(sync.storage).toBe('memory');
    expect(await fault).toContain('storage: this browser gives no storage to keep changes in (SecurityError');
    await sync.publish('star_album', { album_id: 'a1' });
    expect(sync.status.pending).toBe(1);
    await sync.close();
  });

  it('web_9 asks once that nothing is cleared, and opens whatever the answer', async () => {
    const persist = vi.fn(() => Promise.reject(new Error('not now')));
    vi.stubGlobal('navigator', { storage: { persist } });
    for (const syncId of ['one', 'two']) {
      const sync = await openSyncline({ ...NOBODY, syncId });
      expect(sync.storage).toBe('indexeddb');
      await sync.close();
    }
    expect(persist).toHaveBeenCalledTimes(1);
  });

  it('web_9 a tab gives way to a newer version, says so, and what it had is there', async () => {
    broker.reachable = false;
    const page = await open(browser);
    const told = heard<{ detail: string }>(page, 'fault');
    await star(page, 'a1');
    const newer = await openDB(browser.name, 99);
    expect(page.client.status).toMatchObject({ state: 'closed', pending: 1, cause: 'newer_version' });
    expect(told.map(({ detail }) => detail)).toEqual([expect.stringContaining('reload this one')]);
    await expect(star(page, 'a2')).rejects.toThrow('reload this one');
    expect(await newer.count('intents')).toBe(1);
    newer.close();
  });

  it('web_9 a page that is older than what is stored is told to reload, not given an empty memory', async () => {
    const name = `syncline ${NOBODY.url} sync/old/events`;
    (await openDB(name, 99)).close();
    await expect(openSyncline({ ...NOBODY, syncId: 'old' })).rejects.toThrow('reload it');
  });
});

describe('a transaction', () => {
  it('web_8 that the browser ends for want of room says so, and not only that it was ended', async () => {
    const store = await IndexedDbStore.open(`ended ${Math.random()}`);
    const put = IDBObjectStore.prototype.put;
    const ending = vi.spyOn(IDBObjectStore.prototype, 'put').mockImplementation(function (
      this: IDBObjectStore,
      ...given
    ) {
      const request = put.apply(this, given);
      this.transaction.abort();
      Object.defineProperty(this.transaction, 'error', { value: full() });
      return request;
    });
    try {
      await expect(store.create('slot', 'owner', 1)).rejects.toThrow('no room');
    } finally {
      ending.mockRestore();
      store.close();
    }
  });
});

describe.each([
  ['memory', async () => new MemoryStore()],
  ['indexeddb', () => IndexedDbStore.open(`full ${Math.random()}`)],
])('a full storage, %s', (_kind, openStore) => {
  it('web_8 a change that finds no room is rejected, and what is stored goes on', async () => {
    const store = await openStore();
    const page = await open(browser, undefined, store);
    await saved(page);
    broker.reachable = false;
    broker.cut();
    const kept = await star(page, 'a1');
    const told = heard<{ kind: string }>(page, 'fault');
    const write = store.write.bind(store);
    store.write = (slot, owner, writes) =>
      writes.some(({ put }) => put.intents !== undefined)
        ? Promise.reject(full())
        : write(slot, owner, writes);
    await expect(star(page, 'a2')).rejects.toMatchObject({ name: 'RefusedError', refusal: 'quota_exceeded' });
    await until(() => page.client.status.pending === 1);
    expect(page.client.entries('albums').map(({ key }) => key)).toEqual(['a1']);
    expect(told[0]?.kind).toBe('storage');
    broker.reachable = true;
    await expect(kept.saved).resolves.toEqual({ seq: 1 });
    await saved(page);
    store.write = write;
    const before = broker.attempts;
    await expect(star(page, 'a2')).rejects.toMatchObject({ refusal: 'quota_exceeded' });
    expect([page.client.status.state, broker.attempts]).toEqual(['saved', before]);
    page.environment.clockIsOffBy += 5_000;
    await expect((await star(page, 'a3')).saved).resolves.toEqual({ seq: 2 });
    expect(broker.live('albums')).toEqual(['a1', 'a3']);
  });

  it('outbox_10_web_8 a change that finds no room replaces none, and those keep their receipts', async () => {
    const store = await openStore();
    const page = await open(browser, undefined, store);
    await saved(page);
    page.client.setOnline(false);
    const [first, second] = [await star(page, 'a1'), await star(page, 'a1')];
    const write = store.write.bind(store);
    store.write = () => Promise.reject(full());
    const changes = [page.client.publish('unstar_album', { album_id: 'a1' }), star(page, 'a1')];
    for (const change of changes) await expect(change).rejects.toMatchObject({ refusal: 'quota_exceeded' });
    store.write = write;
    await until(() => page.client.pendingEvents().length === 1);
    page.client.setOnline(true);
    await expect(Promise.all([first.saved, second.saved])).resolves.toEqual([{ seq: 1 }, { seq: 1 }]);
    expect(broker.live('albums')).toEqual(['a1']);
  });

  it('web_8 store_6 a replica that finds no room is left out, and the rows that it stands for stay', async () => {
    const store = await openStore();
    const page = await open(browser, undefined, store);
    await saved(page);
    const write = store.write.bind(store);
    const written: Write[] = [];
    store.write = async (slot, owner, writes) => {
      if (writes.some(({ put }) => put.replica !== undefined)) throw full();
      written.push(...writes);
      return write(slot, owner, writes);
    };
    const told = heard<Status>(page, 'fault');
    await (
      await star(page, 'a1')
    ).saved;
    await until(() => page.client.pendingEvents().length === 0);
    page.client.setOnline(false);
    await until(() => told.length > 0);
    page.client.setOnline(true);
    await saved(page);
    const [slot] = await store.slots();
    expect(slot?.waiting).toBe(1);
    store.write = write;
    await page.client.close();
  });
});
