/** The web client behind a network that fails: nothing is lost, nothing doubled, order is kept. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import {
  eventsOf,
  openSyncline,
  stateAt,
  type HistoryOptions,
  type Receipt,
  type SyncEvent,
  type Syncline,
} from '../../src/index.js';
import { Binary } from './binary.js';
import { FaultProxy } from './proxy.js';

const DEVICES = 2;
const ROUNDS = 24;
const BURST = 3;
/** Seconds; longer than any of these tests. */
const TOKEN_S = 600;
/** Half a Keep Alive, so that what comes within it cannot be owed to that. */
const PATIENCE_MS = 15_000;

let broker: Binary;
let network: FaultProxy;
let stream: HistoryOptions & { readonly channel: string };
let streams = 0;
const clients: Syncline[] = [];

beforeAll(async () => (broker = await Binary.start()));
afterAll(() => broker.stop());
beforeEach(async () => {
  network = await FaultProxy.start(broker.url);
  const token = async (): Promise<string> => broker.token(TOKEN_S);
  stream = { url: broker.url, syncId: 'music', channel: `room-${streams++}`, username: 'ana', token };
});
afterEach(async () => {
  vi.unstubAllGlobals();
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await network.stop();
});

async function open(url = network.url): Promise<Syncline> {
  const client = await openSyncline({ ...stream, url });
  clients.push(client);
  await isOnline(client);
  return client;
}

async function until(what: string, condition: () => boolean): Promise<void> {
  await vi.waitFor(() => expect(condition(), what).toBe(true), { timeout: PATIENCE_MS, interval: 5 });
}

const isOnline = (client: Syncline): Promise<void> =>
  until('online', () => ['saved', 'saving'].includes(client.status.state));

const isSaved = (client: Syncline): Promise<void> =>
  until('all saved', () => client.status.state === 'saved');

const star = (client: Syncline, album_id: string): Promise<Receipt> =>
  client.publish('star_album', { album_id });

const albumOf = ({ eventData }: SyncEvent): string => (eventData as { album_id: string }).album_id;

async function log(count: number): Promise<SyncEvent[]> {
  const events: SyncEvent[] = [];
  for await (const event of eventsOf(stream, { until: count })) events.push(event);
  return events;
}

/** Small and repeatable (mulberry32): a failure is found again by its seed. */
function diceOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** One thing that goes wrong, until the network has done it to somebody. What is published meanwhile makes it happen. */
async function misfortune(dice: (below: number) => number): Promise<void> {
  const before = { ...network.seen };
  switch (dice(7)) {
    case 0:
      return network.cut();
    case 1:
      network.resetAfter(1 + dice(400));
      return network.sees('a reset', ({ resets }) => resets > before.resets);
    case 2:
      network.set('refusing');
      network.cut();
      await until('they know it', () => clients.every(({ status }) => status.state !== 'saved'));
      clients.forEach((client) => client.setOnline(true));
      return network.sees('a refusal', ({ refused }) => refused > before.refused);
    case 3:
      network.set('slow');
      return network.sees('a trickle', ({ passed }) => passed > before.passed + 200);
    case 4:
      network.set('swallows requests');
      return network.sees('requests that are lost', ({ swallowed }) => swallowed > before.swallowed);
    case 5:
      network.set('swallows answers');
      return network.sees('answers that are lost', ({ swallowed }) => swallowed > before.swallowed);
    default:
      network.set('still');
      return network.cut();
  }
}

it.each([1, 2, 3])(
  'g3_g4_g5_g11 a network that fails loses and doubles nothing, and keeps order: seed %i',
  async (seed) => {
    const dice = diceOf(seed);
    const devices = await Promise.all(Array.from({ length: DEVICES }, () => open()));
    const receipts = new Map<string, Receipt>();
    const published = devices.map((): string[] => []);
    for (let round = 0; round < ROUNDS; round++) {
      const happened = misfortune(dice);
      for (let n = 0; n < BURST; n++) {
        for (const [device, client] of devices.entries()) {
          const album = `album-${device}-${round}-${n}`;
          receipts.set(album, await star(client, album));
          published[device]?.push(album);
        }
      }
      await happened;
      network.set('fair');
      // Somebody looks: what waits for its next try tries at once.
      devices.forEach((client) => client.setOnline(true));
      await Promise.all(devices.map(isOnline));
    }
    await Promise.all(devices.map(isSaved));

    const events = await log(receipts.size);
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
    expect(events.map(albumOf).sort(), 'each once').toEqual([...receipts.keys()].sort());
    for (const [device, albums] of published.entries()) {
      const its = events.map(albumOf).filter((album) => album.startsWith(`album-${device}-`));
      expect(its, 'in the order of its device').toEqual(albums);
    }
    for (const [album, receipt] of receipts) {
      const { seq } = await receipt.saved;
      if (seq !== null) expect(albumOf(events[seq - 1] as SyncEvent), 'where it was said to be').toBe(album);
    }
    await until('all seen', () => devices.every(({ seq }) => seq === events.length));
    const state = await stateAt(stream, events.length);
    for (const client of devices) {
      const held = client.entries('albums').map(({ key, value, pending }) => ({ key, value, pending }));
      expect(held).toEqual(state.entries('albums').map((entry) => ({ ...entry, pending: false })));
      expect(client.setAside()).toEqual([]);
    }
    // More could still come only if something had been sent twice.
    await star(devices[0] as Syncline, 'the last one').then(({ saved }) => saved);
    expect(albumOf((await log(events.length + 1)).at(-1) as SyncEvent)).toBe('the last one');
  },
);

it('g4 an acknowledgement that is lost leads to a repeat and to no second effect', async () => {
  const [client, witness] = [await open(), await open(broker.url)];
  network.set('swallows answers');
  const receipt = await star(client, 'album-1');
  await until('the broker has it', () => witness.has('albums', 'album-1'));
  await network.sees('the answer that is lost', ({ swallowed }) => swallowed > 0);
  expect(client.status.state, 'nobody told it so').toBe('saving');
  network.set('fair');
  network.cut();
  client.setOnline(true);
  expect(await receipt.saved).toEqual({ seq: 1 });
  expect(await (await star(client, 'album-2')).saved, 'there is none between').toEqual({ seq: 2 });
});

/** Node has no page that is shown or resumed: the test says so. */
function page(): EventTarget {
  const target = new EventTarget();
  vi.stubGlobal('addEventListener', target.addEventListener.bind(target));
  vi.stubGlobal('removeEventListener', target.removeEventListener.bind(target));
  return target;
}

it('told_6_web_10 a connection that died without a word is found when the page is resumed, and replaced', async () => {
  const window = page();
  const client = await open();
  network.strikeDead();
  const receipt = await star(client, 'album-1');
  const reasons: unknown[] = [];
  client.addEventListener('status', ({ detail }) => {
    if (detail.state === 'offline') reasons.push(detail.reason);
  });
  window.dispatchEvent(new Event('resume'));
  await until('saved', () => client.status.state === 'saved');
  expect(await receipt.saved).toEqual({ seq: 1 });
  expect(reasons).toEqual(['the connection did not answer']);
  expect(network.seen.connections).toBe(2);
});

it('told_6_web_10 a slow connection that answers stays', async () => {
  const window = page();
  const client = await open();
  network.set('slow');
  const passed = network.seen.passed;
  window.dispatchEvent(new Event('resume'));
  // Its acknowledgement comes behind the answer to the probe.
  const receipt = await star(client, 'album-1');
  expect(await receipt.saved).toEqual({ seq: 1 });
  expect(network.seen.passed).toBeGreaterThan(passed);
  expect([network.seen.connections, client.status.state]).toEqual([1, 'saved']);
});

it('retry_1_told_6 behind a network that lets nobody in, each try says when the next one is, and a page that is shown tries at once', async () => {
  const window = page();
  const client = await open();
  const waits: number[] = [];
  client.addEventListener('status', ({ detail }) => {
    if (detail.state === 'offline' && detail.retryAt !== null) waits.push(detail.retryAt - Date.now());
  });
  network.set('refusing');
  network.cut();
  await until('three tries', () => waits.length >= 3);
  // Full jitter: nothing is sure but the bound, min(30,000, 500 × 2^attempt).
  for (const [attempt, wait] of waits.entries())
    expect(wait, `before try ${attempt}`).toBeLessThanOrEqual(Math.min(30_000, 500 * 2 ** attempt));
  network.set('fair');
  window.dispatchEvent(new Event('online'));
  await isSaved(client);
});
