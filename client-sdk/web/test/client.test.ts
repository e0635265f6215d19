import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Client } from '../src/client.js';
import { openSyncline } from '../src/index.js';
import type { SyncEvent } from '../src/protocol/event.js';
import { MemoryStore } from '../src/storage/memory.js';
import { FakeBroker } from './broker.js';
import { Browser, type Page } from './tab.js';

let broker: FakeBroker;
const pages: Page[] = [];

beforeEach(() => (broker = new FakeBroker()));
afterEach(async () => {
  await Promise.all(pages.splice(0).map(({ client }) => client.close()));
});

async function open(browser: Browser, ...rest: Parameters<Browser['open']>): Promise<Page> {
  const page = await browser.open(...rest);
  pages.push(page);
  return page;
}

async function until(condition: () => boolean): Promise<void> {
  await vi.waitFor(() => expect(condition()).toBe(true), { timeout: 3_000, interval: 5 });
}

function saved({ client }: Page): Promise<void> {
  return until(() => client.status.state === 'saved');
}

function star(client: Client, album: string): ReturnType<Client['publish']> {
  return client.publish('star_album', { album_id: album });
}

/** Another page takes over the only slot, as it may when this page is frozen. */
async function steal(browser: Browser): Promise<void> {
  const store = await browser.openStore();
  const [slot] = await store.slots();
  await store.take(slot?.slot ?? '', slot?.owner ?? '', 'another page', Date.now());
  store.close();
}

/** A backup of a profile, restored elsewhere. */
async function copySlot(from: MemoryStore, to: MemoryStore): Promise<void> {
  const [{ slot, owner } = { slot: '', owner: '' }] = await from.slots();
  const put = await from.take(slot, owner, owner, Date.now());
  await to.create(slot, 'a page elsewhere', Date.now());
  await to.write(slot, 'a page elsewhere', [{ type: 'write', write: 1, put, delete: [] }]);
}

function stars({ client }: Page): string[] {
  return client.entries('albums').map(({ key }) => key);
}

function order(): [string, number | null][] {
  return broker.log.map(({ eventData, deviceSeq }) => [
    (eventData as { album_id: string }).album_id,
    deviceSeq,
  ]);
}

describe('a client', () => {
  let browser: Browser;
  beforeEach(() => (browser = new Browser(broker, { locks: true })));

  it('g5 shows a change at once, and on every other device without being asked', async () => {
    const [here, there] = [await open(browser), await open(new Browser(broker, { locks: true }))];
    await Promise.all([saved(here), saved(there)]);
    const receipt = await star(here.client, 'a1');
    expect(here.client.has('albums', 'a1')).toBe(true);
    await expect(receipt.saved).resolves.toEqual({ seq: 1 });
    await until(() => there.client.has('albums', 'a1'));
    await saved(here);
    expect(here.client.status).toEqual({ state: 'saved', pending: 0 });
  });

  it('overlay_4 shows values, counts and lists at once, and the same everywhere', async () => {
    const [here, there] = [await open(browser), await open(new Browser(broker, { locks: true }))];
    await Promise.all([saved(here), saved(there)]);
    await here.client.publish('rate_track', { track_id: 't1', rating: 4 });
    await here.client.publish('play_track', { track_id: 't1' });
    const item = { playlist_id: 'q', track_id: 't1' };
    for (const item_id of ['a', 'b', 'c']) await here.client.publish('put_in_playlist', { ...item, item_id });
    await here.client.publish('put_in_playlist', { ...item, item_id: 'c', after: 'a' });
    const seen = ({ client }: Page): unknown => [
      client.value('ratings', 't1'),
      client.value('plays', 't1'),
      client.list('playlists', 'q').map(({ key }) => key),
    ];
    expect(seen(here)).toEqual([4, 1, ['a', 'c', 'b']]);
    expect(here.client.list('playlists')).toEqual([]);
    await until(() => there.client.seq === 6);
    expect(seen(there)).toEqual(seen(here));
    expect(there.client.list('playlists', 'q')).toBe(there.client.list('playlists', 'q'));
  });

  it('state_10 plays that were counted offline add up', async () => {
    const [here, there] = [await open(browser), await open(new Browser(broker, { locks: true }))];
    await Promise.all([saved(here), saved(there)]);
    for (const { client } of [here, there]) {
      client.setOnline(false);
      await client.publish('play_track', { track_id: 't1' });
      await client.publish('play_track', { track_id: 't1', times: 2 });
      expect(client.value('plays', 't1')).toBe(3);
      client.setOnline(true);
    }
    await until(() => [here, there].every(({ client }) => client.value('plays', 't1') === 6));
  });

  it('overlay_5 shows an open conflict with its authors, and settles it for all', async () => {
    const [here, there] = [await open(browser), await open(new Browser(broker, { locks: true }))];
    await Promise.all([saved(here), saved(there)]);
    for (const [text, { client }] of Object.entries({ one: here, two: there })) {
      client.setOnline(false);
      await client.publish('write_note', { album_id: 'a1', text });
      expect(client.conflicts('notes')).toEqual([]);
    }
    for (const { client } of [here, there]) client.setOnline(true);
    await until(() => [here, there].every(({ client }) => client.conflicts('notes').length === 1));
    const [conflict] = here.client.conflicts('notes');
    expect(conflict).toEqual(there.client.conflicts('notes')[0]);
    expect(new Set(conflict?.values.map(({ value, deviceUuid }) => [value, deviceUuid]))).toEqual(
      new Set([
        ['one', here.client.deviceUuid],
        ['two', there.client.deviceUuid],
      ]),
    );
    await there.client.publish('write_note', { album_id: 'a1', text: 'both' });
    expect(there.client.conflicts('notes')).toEqual([]);
    await until(() => here.client.value('notes', 'a1') === 'both');
    expect(here.client.conflicts('notes')).toEqual([]);
  });

  it('outbox_10 star, unstar, star is one star, and every receipt is its receipt', async () => {
    const page = await open(browser);
    await saved(page);
    page.client.setOnline(false);
    const receipts = [await star(page.client, 'a1')];
    receipts.push(await page.client.publish('unstar_album', { album_id: 'a1' }));
    receipts.push(await star(page.client, 'a1'));
    expect(page.client.status.pending).toBe(1);
    page.client.setOnline(true);
    const ends = await Promise.all(receipts.map((receipt) => receipt.saved));
    expect(ends).toEqual([{ seq: 1 }, { seq: 1 }, { seq: 1 }]);
    expect(order()).toEqual([['a1', 3]]);
  });

  it('replica_6 tells events once, and which are its own', async () => {
    const [here, there] = [await open(browser), await open(new Browser(broker, { locks: true }))];
    await Promise.all([saved(here), saved(there)]);
    const told: [string, SyncEvent['seq'], boolean][] = [];
    for (const [name, page] of Object.entries({ here, there })) {
      page.client.addEventListener('event', ({ detail }) => told.push([name, detail.event.seq, detail.own]));
    }
    await (
      await star(here.client, 'a1')
    ).saved;
    await until(() => told.length === 2);
    expect(told.sort()).toEqual([
      ['here', 1, true],
      ['there', 1, false],
    ]);
  });

  it('g11 resolves publish when the intent is in IndexedDB, without a network', async () => {
    broker.reachable = false;
    const page = await open(browser);
    const receipt = await star(page.client, 'a1');
    expect(receipt.deviceSeq).toBe(1);
    const store = await browser.openStore();
    expect(await store.slots()).toEqual([expect.objectContaining({ waiting: 1 })]);
    store.close();
  });

  it('entries are sorted, say what waits, and stay the same array until something changes', async () => {
    const page = await open(browser);
    await saved(page);
    await (
      await star(page.client, 'b')
    ).saved;
    page.client.setOnline(false);
    await star(page.client, 'a');
    expect(page.client.entries('albums')).toEqual([
      { key: 'a', value: true, pending: true },
      { key: 'b', value: true, pending: false },
    ]);
    expect(page.client.entries('albums')).toBe(page.client.entries('albums'));
    page.client.setOnline(true);
    await until(() => page.client.entries('albums').every(({ pending }) => !pending));
  });

  it('status_1 tells how it stands and how many changes wait', async () => {
    const page = await open(browser);
    const seen: string[] = [];
    page.client.addEventListener('status', ({ detail }) => seen.push(`${detail.state} ${detail.pending}`));
    await saved(page);
    page.client.setOnline(false);
    await star(page.client, 'a1');
    expect(page.client.status).toMatchObject({
      state: 'offline',
      pending: 1,
      retryAt: null,
      reason: 'switched off',
    });
    page.client.setOnline(true);
    await saved(page);
    expect(seen).toEqual(['saved 0', 'offline 0', 'offline 1', 'connecting 1', 'saving 1', 'saved 0']);
  });

  it('retry_1 comes back by itself after the network was cut', async () => {
    const page = await open(browser);
    await saved(page);
    broker.reachable = false;
    broker.cut();
    await star(page.client, 'a1');
    broker.reachable = true;
    await until(() => broker.log.length === 1);
    await saved(page);
  });

  it('retry_1 comes back although the clock was set back', async () => {
    const page = await open(browser);
    await saved(page);
    page.environment.clockIsOffBy = -3_600_000;
    page.environment.luck = 0.2;
    broker.cut();
    await until(() => page.client.status.state === 'offline');
    await saved(page);
  });

  it('retry_1 tells why no connection could even be tried, and tries again', async () => {
    const connect = vi.spyOn(broker, 'transport').mockImplementationOnce(() => ({
      connect: () => {
        throw new Error('insecure');
      },
    }));
    const page = await open(browser);
    await until(() => page.client.status.state === 'offline' || page.client.status.state === 'connecting');
    const reasons: (string | null)[] = [];
    page.client.addEventListener('status', ({ detail }) => {
      if (detail.state === 'offline') reasons.push(detail.reason);
    });
    await until(() => reasons.length > 1);
    expect(reasons[0]).toBe('insecure');
    connect.mockRestore();
  });

  it('outbox_9 does not repeat what was accepted without an answer', async () => {
    const page = await open(browser);
    await saved(page);
    broker.mute = true;
    const receipt = await star(page.client, 'a1');
    await until(() => page.client.seq === 1);
    broker.mute = false;
    broker.cut();
    await expect(receipt.saved).resolves.toEqual({ seq: 1 });
    expect(order()).toEqual([['a1', 1]]);
  });

  it('refuse_2 rejects the receipt, takes the change back and sets it aside', async () => {
    broker.refused.set('unstar_album', { name: 'not_allowed', reason: 'read only' });
    const page = await open(browser);
    await saved(page);
    await (
      await star(page.client, 'a1')
    ).saved;
    const receipt = await page.client.publish('unstar_album', { album_id: 'a1' });
    await expect(receipt.saved).rejects.toMatchObject({
      name: 'RefusedError',
      refusal: 'not_allowed',
      reason: 'read only',
    });
    expect(stars(page)).toEqual(['a1']);
    await until(() => page.client.setAside().length === 1);
    expect(page.client.setAside()).toEqual([
      {
        id: expect.any(String) as string,
        eventType: 'unstar_album',
        eventData: { album_id: 'a1' },
        refusal: 'not_allowed',
        reason: 'read only',
      },
    ]);
  });

  it.each([
    ['bad_value', 'star_album', { album_id: NaN }],
    ['bad_data', 'star_album', { album: 'a1' }],
    ['not_an_event', '', null],
    ['not_an_event', 'x'.repeat(65), null],
  ])('refuses %s at once', async (refusal, type, data) => {
    const page = await open(browser);
    await saved(page);
    await expect(page.client.publish(type, data)).rejects.toMatchObject({ name: 'RefusedError', refusal });
    expect(broker.log).toEqual([]);
  });

  it('keeps the order of changes made while it tells of others', async () => {
    const page = await open(browser);
    await saved(page);
    page.client.addEventListener('change', () => void star(page.client, 'b'), { once: true });
    await star(page.client, 'a');
    await star(page.client, 'c');
    await until(() => broker.log.length === 3);
    expect(order()).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ]);
  });

  it('presence_1 lists the devices that are here, itself among them, and nobody while offline', async () => {
    const [here, there] = [await open(browser), await open(new Browser(broker, { locks: true }))];
    await until(() => here.client.devices().length === 2);
    const own = here.client.devices().find((device) => device.own);
    expect(own).toMatchObject({ deviceUuid: here.client.deviceUuid, online: true });
    there.client.setOnline(false);
    await until(() => here.client.devices().some(({ online }) => !online));
    here.client.setOnline(false);
    expect(here.client.devices()).toEqual([]);
  });

  it('presence_1 lives with a presence message that cannot be read', async () => {
    const page = await open(browser);
    await until(() => page.client.devices().length === 1);
    const fault = vi.fn();
    page.client.addEventListener('fault', fault);
    const { deviceUuid } = page.client;
    broker.links.get(deviceUuid)?.deliver(`sync/music/presence/${deviceUuid}`, new Uint8Array([1]));
    await until(() => fault.mock.calls.length === 1);
    expect(page.client.devices()).toHaveLength(1);
  });

  it('calls subscribers once for many changes, and no more after they leave', async () => {
    const page = await open(browser);
    await saved(page);
    const listener = vi.fn();
    const leave = page.client.subscribe(listener);
    const both = Promise.all([star(page.client, 'a'), star(page.client, 'b')]);
    await Promise.resolve();
    expect(listener).toHaveBeenCalledTimes(1);
    leave();
    await both;
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it('store_4 says so when the storage fails, and promises nothing', async () => {
    const store = new MemoryStore();
    const page = await open(browser, undefined, store);
    await saved(page);
    store.write = () => Promise.reject(new Error('quota'));
    await expect(star(page.client, 'a1')).rejects.toThrow('quota');
    expect(page.client.status).toMatchObject({
      state: 'offline',
      reason: expect.stringContaining('quota') as string,
    });
    await expect(star(page.client, 'a2')).rejects.toThrow('quota');
    expect(page.client.devices()).toEqual([]);
  });

  it('says so where the browser gives no storage', async () => {
    vi.spyOn(indexedDB, 'open').mockImplementationOnce(() => {
      throw new DOMException('denied', 'SecurityError');
    });
    const opening = openSyncline({ url: 'ws://127.0.0.1:1/mqtt', syncId: 'music', storage: 'indexeddb' });
    await expect(opening).rejects.toThrow(
      'this browser gives no storage to keep changes in (SecurityError: denied)',
    );
  });

  it('is closed for everybody who closes it, once everything is durable', async () => {
    const store = new MemoryStore();
    const page = await open(browser, undefined, store);
    await saved(page);
    const closed = vi.spyOn(store, 'close');
    void page.client.close();
    await page.client.close();
    expect(closed).toHaveBeenCalledTimes(1);
    await expect(star(page.client, 'a1')).rejects.toThrow('the client is closed');
  });
});

describe.each([{ locks: true }, { locks: false }])('tabs of one browser, $locks Web Locks', ({ locks }) => {
  let browser: Browser;
  beforeEach(() => (browser = new Browser(broker, { locks })));

  it('g11_web_1 a reloaded page is the same device with its outbox', async () => {
    const store = await browser.openStore();
    const write = vi.spyOn(store, 'write');
    const first = await open(browser, undefined, store);
    await until(() =>
      write.mock.calls.some(([, , writes]) => writes.some(({ put }) => put.schema !== undefined)),
    );
    broker.reachable = false;
    broker.cut();
    await star(first.client, 'a1');
    const device = first.client.deviceUuid;
    await first.vanish();
    const second = await open(browser, first.memory);
    expect(second.client.deviceUuid).toBe(device);
    expect(stars(second)).toEqual(['a1']);
  });

  it('store_3 the first change takes the schema along, without which a reloaded page could not show it', async () => {
    const first = await open(browser);
    await saved(first);
    await star(first.client, 'a1');
    const store = await browser.openStore();
    const [slot] = await store.slots();
    const stored = await store.take(slot?.slot ?? '', slot?.owner ?? '', 'another page', Date.now());
    store.close();
    expect(stored).toMatchObject({ intents: [{ eventType: 'star_album' }], schema: { strict: false } });
  });

  it('g11_web_3 a page that was closed and opened again delivers everything once, in order', async () => {
    broker.reachable = false;
    const first = await open(browser);
    for (const album of ['a1', 'a2', 'a3']) await star(first.client, album);
    await first.vanish();
    broker.reachable = true;
    const second = await open(browser);
    expect(second.client.deviceUuid).toBe(first.client.deviceUuid);
    await until(() => broker.log.length === 3);
    await saved(second);
    expect(order()).toEqual([
      ['a1', 1],
      ['a2', 2],
      ['a3', 3],
    ]);
  });

  it('web_2 a duplicated tab is another device', async () => {
    const first = await open(browser);
    const copy = await open(browser, new Map(first.memory));
    expect(copy.client.deviceUuid).not.toBe(first.client.deviceUuid);
    await Promise.all([saved(first), saved(copy)]);
    await (
      await star(copy.client, 'a1')
    ).saved;
    await until(() => first.client.has('albums', 'a1'));
  });

  it('web_4 a page that was taken for dead moves to another device and loses nothing', async () => {
    const page = await open(browser);
    await saved(page);
    const device = page.client.deviceUuid;
    await steal(browser);
    const receipt = await star(page.client, 'a1');
    expect(page.client.deviceUuid).not.toBe(device);
    await expect(receipt.saved).resolves.toEqual({ seq: 1 });
    expect(stars(page)).toEqual(['a1']);
  });

  it('web_4 a page that lost its slot while it was offline does not connect as that device', async () => {
    const page = await open(browser);
    await saved(page);
    const device = page.client.deviceUuid;
    page.client.setOnline(false);
    await steal(browser);
    page.client.setOnline(true);
    await until(() => page.client.deviceUuid !== device);
    await saved(page);
    expect(broker.joined).toEqual([device, page.client.deviceUuid]);
  });

  it('web_4 says so when there is no other device to move to', async () => {
    const store = await browser.openStore();
    const page = await open(browser, undefined, store);
    await saved(page);
    await steal(browser);
    store.slots = () => Promise.reject(new Error('no storage'));
    await expect(star(page.client, 'a1')).rejects.toThrow('another tab has taken over this device');
    expect(page.client.status).toMatchObject({
      state: 'offline',
      reason: expect.stringContaining('no storage') as string,
    });
  });

  it('fork_5 a page that is thrown out by a copy of its device is another device in its slot', async () => {
    const store = new MemoryStore();
    const page = await open(browser, undefined, store);
    await saved(page);
    const device = page.client.deviceUuid;
    broker.links.get(device)?.end('taken over', 'taken_over');
    await until(() => page.client.deviceUuid !== device);
    await saved(page);
    expect((await store.slots()).map(({ slot }) => slot)).toEqual([device]);
  });

  it('fork_5 two copies of a profile come to rest as two devices, and what was in doubt is there once', async () => {
    const [store, copy] = [new MemoryStore(), new MemoryStore()];
    const first = await open(browser, undefined, store);
    await saved(first);
    // Else both would try again at the same moments.
    first.environment.luck = 0.1;
    broker.mute = true;
    await star(first.client, 'a1');
    await until(() => broker.log.length === 1);
    await copySlot(store, copy);
    const second = await open(new Browser(broker, { locks: true }), undefined, copy);
    await until(() => broker.joined.length > 2);
    broker.mute = false;
    broker.cut();
    await until(() => first.client.deviceUuid !== second.client.deviceUuid);
    await Promise.all([saved(first), saved(second)]);
    await Promise.all([star(first.client, 'a2'), star(second.client, 'a3')]);
    await until(() => stars(first).length === 3 && stars(second).length === 3);
    expect(broker.log).toHaveLength(3);
  });

  it('web_4 a page that finds its slot and its connection taken by another page moves', async () => {
    const page = await open(browser);
    await saved(page);
    const device = page.client.deviceUuid;
    await steal(browser);
    broker.links.get(device)?.end('taken over', 'taken_over');
    await until(() => page.client.deviceUuid !== device);
    await saved(page);
    const store = await browser.openStore();
    expect((await store.slots()).map(({ slot }) => slot).sort()).toEqual(
      [device, page.client.deviceUuid].sort(),
    );
    expect(broker.joined).toEqual([device, page.client.deviceUuid]);
    store.close();
  });

  it('g11_web_5 delivers what a closed tab left, as the device that it was', async () => {
    const [first, second] = [await open(browser), await open(browser)];
    await Promise.all([saved(first), saved(second)]);
    broker.reachable = false;
    broker.cut();
    await star(second.client, 'a1');
    await star(second.client, 'a2');
    await second.vanish();
    broker.reachable = true;
    await until(() => broker.log.length === 2);
    expect(broker.log.map(({ deviceUuid }) => deviceUuid)).toEqual(Array(2).fill(second.client.deviceUuid));
    await until(() => stars(first).length === 2);
    const store = await browser.openStore();
    await vi.waitFor(async () => expect(await store.slots()).toHaveLength(1));
    store.close();
  });
});
