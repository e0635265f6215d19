import { beforeEach, describe, expect, it } from 'vitest';
import type { Receipt } from '../src/api.js';
import { settle } from '../src/change.js';
import { Devices } from '../src/devices.js';
import { Receipts } from '../src/receipts.js';
import { FakeBroker } from './broker.js';
import { open, saved, until } from './pages.js';
import { Browser, type Page } from './tab.js';

const PHONE = '0b0e7a52-6d0c-4a53-9a5e-2f1f0c9d1a01';

let broker: FakeBroker;
let browser: Browser;

beforeEach(() => {
  broker = new FakeBroker();
  browser = new Browser(broker, { locks: true });
});

function star({ client }: Page, album: string): Promise<Receipt> {
  return client.publish('star_album', { album_id: album });
}

/** A promise and whether it has ended. */
function watched(promise: Promise<void>): { readonly promise: Promise<void>; ended: boolean } {
  const watch = { promise, ended: false };
  const end = (): void => void (watch.ended = true);
  promise.then(end, end);
  return watch;
}

describe('the save ladder', () => {
  it('told_1_web_11 seen by a device once it says that it has this channel up to there', async () => {
    const page = await open(browser);
    await saved(page);
    await star(page, 'a1');
    const receipt = await star(page, 'a2');
    const seen = watched(receipt.seenBy(PHONE.toUpperCase()));
    await receipt.saved;
    broker.tellAcked(PHONE, { '': 1, room: 2 });
    await until(() => page.client.devices().some(({ acked }) => acked['room'] === 2));
    expect(seen.ended).toBe(false);
    broker.tellAcked(PHONE, { '': 2 }, { online: false });
    await seen.promise;
    await receipt.seenBy(PHONE);
  });

  it('web_11 waits while this client is offline, and across connections', async () => {
    const page = await open(browser);
    await saved(page);
    const receipt = await star(page, 'a1');
    await receipt.saved;
    const seen = watched(receipt.seenBy(PHONE));
    page.client.setOnline(false);
    page.client.setOnline(true);
    await saved(page);
    expect(seen.ended).toBe(false);
    broker.tellAcked(PHONE, { '': 7 });
    await seen.promise;
  });

  it('web_11 ends with its signal, before and after the broker has it', async () => {
    const page = await open(browser);
    page.client.setOnline(false);
    const receipt = await star(page, 'a1');
    const [early, late] = [new AbortController(), new AbortController()];
    const first = receipt.seenBy(PHONE, { signal: early.signal });
    const second = watched(receipt.seenBy(PHONE, { signal: late.signal }));
    early.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
    page.client.setOnline(true);
    await receipt.saved;
    broker.tellAcked(PHONE, { '': 0 });
    await until(() => page.client.devices().some(({ deviceUuid }) => deviceUuid === PHONE));
    expect(second.ended).toBe(false);
    late.abort(new Error('enough again'));
    await expect(second.promise).rejects.toThrow('enough again');
    await expect(receipt.seenBy(PHONE, { signal: late.signal })).rejects.toThrow('enough again');
  });

  it('web_11 ends with the client, and with a refusal', async () => {
    const page = await open(browser);
    await saved(page);
    broker.refused.set('unstar_album', { name: 'not_allowed', reason: 'only stars' });
    const refused = await page.client.publish('unstar_album', { album_id: 'a1' });
    await expect(refused.seenBy(PHONE)).rejects.toThrow('not_allowed: only stars');
    const receipt = await star(page, 'a1');
    await receipt.saved;
    const seen = receipt.seenBy(PHONE);
    await Promise.all([page.client.close(), expect(seen).rejects.toThrow('the client is closed')]);
    await expect(receipt.seenBy(PHONE)).rejects.toThrow('the client is closed');
  });

  it('outbox_9_told_1_web_11 says so where the broker names no place, and where that is no device', async () => {
    const devices = new Devices('music');
    const receipts = new Receipts({ devices, channel: null, epoch: () => '00c0ffee00c0ffee' });
    const receipt = receipts.expect({ id: 1, deviceSeq: 1 });
    receipts.take({ type: 'receipt', id: 1, outcome: 'saved' });
    await expect(receipt.saved).resolves.toEqual({ seq: null });
    await expect(receipt.seenBy(PHONE)).rejects.toThrow('no longer knew at which place');
    await expect(receipt.seenBy('kitchen')).rejects.toThrow('"kitchen" is not the UUID of a device');
  });

  it('told_1_web_11 a place of another history is nobody`s', async () => {
    const page = await open(browser);
    await saved(page);
    const receipt = await star(page, 'a1');
    await receipt.saved;
    const seen = receipt.seenBy(PHONE);
    broker.beginAnew('0123456789abcdef');
    broker.cut();
    await expect(seen).rejects.toThrow('another history');
  });
});

describe('pending events', () => {
  it('web_12 are what the broker has not confirmed, in order, and how far they are', async () => {
    const page = await open(browser);
    await saved(page);
    expect(page.client.pendingEvents()).toEqual([]);
    page.client.setOnline(false);
    const before = Date.now();
    await star(page, 'a1');
    await page.client.publish('rate_track', { track_id: 't1', rating: 4 });
    const waiting = page.client.pendingEvents();
    expect(waiting.map(({ eventType, eventData, stage }) => [eventType, eventData, stage])).toEqual([
      ['star_album', { album_id: 'a1' }, 'waiting'],
      ['rate_track', { track_id: 't1', rating: 4 }, 'waiting'],
    ]);
    expect(waiting[0]?.createdAt).toBeGreaterThanOrEqual(before);
    expect(waiting[0]?.createdAt).toBeLessThanOrEqual(waiting[1]?.createdAt ?? 0);
    expect(page.client.pendingEvents()).toBe(waiting);
    broker.mute = true;
    const stages: string[][] = [];
    const look = (): unknown => stages.push(page.client.pendingEvents().map(({ stage }) => stage));
    page.client.subscribe(look);
    page.client.setOnline(true);
    await until(() => stages.at(-1)?.every((stage) => stage === 'sent') === true);
    expect(stages.at(-1)).toHaveLength(2);
    broker.mute = false;
    broker.cut();
    await saved(page);
    expect(page.client.pendingEvents()).toEqual([]);
    expect(page.client.pendingEvents()).toBe(page.client.pendingEvents());
  });
});

describe('pending events on a connection', () => {
  it('web_12 tells those who subscribe that one is on its way', async () => {
    const page = await open(browser);
    await saved(page);
    broker.deaf = true;
    const stages: string[][] = [];
    page.client.subscribe(() => stages.push(page.client.pendingEvents().map(({ stage }) => stage)));
    await star(page, 'a1');
    await until(() => stages.at(-1)?.[0] === 'sent');
    expect(stages[0]).toEqual(['waiting']);
  });
});

describe('conflicts', () => {
  async function conflict(): Promise<Page[]> {
    const [here, there] = [
      await open(browser),
      await open(new Browser(broker, { locks: true, name: 'Kitchen' })),
    ];
    await Promise.all([saved(here), saved(there)]);
    for (const [text, { client }] of Object.entries({ one: here, two: there })) {
      client.setOnline(false);
      await client.publish('write_note', { album_id: 'a1', text });
    }
    for (const { client } of [here, there]) client.setOnline(true);
    await until(() => [here, there].every(({ client }) => client.conflicts('notes').length === 1));
    return [here, there];
  }

  it('web_13 name the devices that people gave names, as soon as they are known', async () => {
    const [here, there] = await conflict();
    const names = (): unknown =>
      here?.client
        .conflicts('notes')[0]
        ?.values.map(({ deviceUuid, deviceName }) => [deviceUuid, deviceName]);
    await until(() => JSON.stringify(names()).includes('Kitchen'));
    expect(names()).toContainEqual([there?.client.deviceUuid, 'Kitchen']);
    expect(names()).toContainEqual([here?.client.deviceUuid, undefined]);
    const known = here?.client.conflicts('notes');
    broker.tellAcked(PHONE, { '': 1 });
    await until(() => here?.client.devices().some(({ deviceUuid }) => deviceUuid === PHONE) === true);
    expect(here?.client.conflicts('notes')).toBe(known);
    const changes: unknown[] = [];
    here?.client.addEventListener('change', ({ detail }) => changes.push(detail.collections));
    broker.tellAcked(there?.client.deviceUuid ?? '', {}, { name: 'Bath' });
    await until(() => JSON.stringify(names()).includes('Bath'));
    expect(changes).toContainEqual(['notes']);
    broker.tellAcked(there?.client.deviceUuid ?? '', {}, { name: 'Kitchen' });
    await until(() => JSON.stringify(names()).includes('Kitchen'));
    here?.client.setOnline(false);
    expect(names()).toContainEqual([there?.client.deviceUuid, 'Kitchen']);
  });

  it.each([
    ['one of them', (page: Page) => page.client.conflicts('notes')[0]?.values[1], 'a value'],
    ['another value', () => ({ value: 'three' }), 'three'],
    ['a removal', () => ({ value: undefined }), undefined],
  ])('web_13 are settled by %s', async (_what, choose, expected) => {
    const [here, there] = (await conflict()) as [Page, Page];
    const choice = choose(here) ?? { value: null };
    await (
      await settle(here.client, 'notes', 'a1', choice)
    ).saved;
    expect(here.client.conflicts('notes')).toEqual([]);
    await until(() => there.client.conflicts('notes').length === 0);
    expect(there.client.value('notes', 'a1')).toBe(expected === 'a value' ? choice.value : expected);
  });

  it('web_13 are settled by nothing that the schema cannot say', async () => {
    const page = await open(browser);
    const settleAs = (collection: string, choice: object): Promise<unknown> =>
      settle(page.client, collection, 'a1', choice as { value: string });
    await expect(settleAs('notes', { value: 'x' })).rejects.toThrow('no schema is known yet');
    await saved(page);
    await expect(settleAs('nots', { value: 'x' })).rejects.toThrow('no collection "nots"');
    await expect(settleAs('albums', { value: true })).rejects.toThrow('albums is not keep_both');
    await expect(settleAs('notes', {})).rejects.toThrow('the choice has no value');
    expect(broker.log).toEqual([]);
  });
});
