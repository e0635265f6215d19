import type { Packet } from 'mqtt-packet';
import { afterEach, expect, it } from 'vitest';
import { eventsOf, stateAt, type HistoryOptions, type SyncEvent } from '../src/index.js';
import { encodeEvent } from '../src/protocol/event.js';
import { streamId } from '../src/protocol/ids.js';
import { encodeSnapshot, snapshotOf } from '../src/protocol/snapshot.js';
import { State } from '../src/protocol/state.js';
import { starSchema } from './golden.js';
import { ScriptedServer } from './scripted.js';

const EPOCH = '00c0ffee00c0ffee';
const STREAM = streamId('music', null);

let server: ScriptedServer;
afterEach(() => server.close());

function event(seq: number): SyncEvent {
  return {
    syncId: 'music',
    channel: null,
    epoch: EPOCH,
    seq,
    acceptedAt: 1_000 + seq,
    eventType: 'star_album',
    eventData: { album_id: `a${seq}` },
    deviceUuid: '0b0e7a52-6d0c-4a53-9a5e-2f1f0c9d1a01',
    deviceSeq: seq,
    timestamp: seq,
    counter: 0,
    baseSeq: 0,
    extra: {},
  };
}

function eventMessage(seq: number): Packet {
  return message('sync/music/events', encodeEvent(event(seq)));
}

function stateMessage(seq: number): Packet {
  const state = new State(starSchema());
  for (let i = 1; i <= seq; i++) state.apply(event(i));
  return message('sync/music/state', encodeSnapshot(snapshotOf(STREAM, state)));
}

function message(topic: string, payload: Uint8Array): Packet {
  return { cmd: 'publish', topic, payload: Buffer.from(payload), qos: 0, dup: false, retain: false };
}

/** Admits, answers a SUBSCRIBE by `granted` and `reasonString`, and sends these. */
async function serve(
  messages: readonly Packet[],
  granted = 1,
  reasonString?: string,
): Promise<HistoryOptions> {
  server = new ScriptedServer((packet) => {
    if (packet.cmd === 'connect') return [{ cmd: 'connack', reasonCode: 0, sessionPresent: false }];
    if (packet.cmd !== 'subscribe') return [];
    const properties = reasonString === undefined ? {} : { properties: { reasonString } };
    return [
      { cmd: 'suback', messageId: packet.messageId ?? 0, granted: [granted], ...properties },
      ...messages,
    ];
  });
  return { url: await server.listen(), syncId: 'music' };
}

async function seqs(events: AsyncIterable<SyncEvent>): Promise<number[]> {
  const all: number[] = [];
  for await (const { seq } of events) all.push(seq);
  return all;
}

function sent(cmd: Packet['cmd']): Packet | undefined {
  return server.received.find((packet) => packet.cmd === cmd);
}

it('view_3 gives the events of a stretch, as nobody of the group, and leaves', async () => {
  const options = await serve([3, 4, 5, 6].map(eventMessage));
  expect(await seqs(eventsOf(options, { after: 2, until: 5 }))).toEqual([3, 4, 5]);
  expect(sent('subscribe')).toMatchObject({ subscriptions: [{ topic: '$since/2/sync/music/events' }] });
  const connect = sent('connect') as Extract<Packet, { cmd: 'connect' }>;
  expect(connect.clean).toBe(true);
  expect(connect.clientId).toMatch(/^history-[0-9a-f]{24}$/);
  expect(connect.properties?.userProperties ?? {}).not.toHaveProperty('device');
});

it('view_3 begins with what is kept where nothing else was asked for', async () => {
  const options = await serve([stateMessage(4), ...[5, 6].map(eventMessage)]);
  expect(await seqs(eventsOf(options, { until: 6 }))).toEqual([5, 6]);
});

it('view_3 ends where all of a stretch is gone, and where it is empty', async () => {
  const options = await serve([stateMessage(9)]);
  expect(await seqs(eventsOf(options, { until: 9 }))).toEqual([]);
  expect(await seqs(eventsOf(options, { after: 9, until: 9 }))).toEqual([]);
});

it('view_3 says from where on the events are kept, instead of leaving some out', async () => {
  const options = await serve([stateMessage(4), eventMessage(5)]);
  await expect(seqs(eventsOf(options, { after: 2, until: 5 }))).rejects.toMatchObject({
    refusal: 'not_kept',
    reason: expect.stringContaining('ask for those after 4') as string,
  });
});

it('view_7 gives the state of then', async () => {
  const past = await stateAt(await serve([stateMessage(2)]), 2);
  expect([past.seq, past.entries('albums'), past.entries('moods')]).toEqual([
    2,
    [
      { key: 'a1', value: true },
      { key: 'a2', value: true },
    ],
    [],
  ]);
  expect(sent('subscribe')).toMatchObject({ subscriptions: [{ topic: '$at/2/sync/music/state' }] });
});

it('view_7 says what is kept where a state is not', async () => {
  const options = await serve([], 0x83, 'the states of seq 4 to 9 are kept');
  await expect(stateAt(options, 3)).rejects.toMatchObject({
    refusal: 'not_kept',
    reason: 'the states of seq 4 to 9 are kept',
  });
});

it('wall_2 is not given to whoever may not read', async () => {
  const options = await serve([], 0x87, 'no');
  await expect(stateAt(options, 3)).rejects.toMatchObject({ refusal: 'not_allowed', reason: 'no' });
});

it('ends with the reason of its signal, before and while it waits', async () => {
  const options = await serve([eventMessage(1)]);
  const enough = new AbortController();
  const got: number[] = [];
  const reading = (async () => {
    for await (const { seq } of eventsOf({ ...options, signal: enough.signal })) {
      got.push(seq);
      enough.abort(new Error('enough'));
    }
  })();
  await expect(reading).rejects.toThrow('enough');
  expect(got).toEqual([1]);
  await expect(stateAt({ ...options, signal: AbortSignal.abort(new Error('never')) }, 1)).rejects.toThrow(
    'never',
  );
});

it('says that a connection is not to be had, and which numbers are no seq', async () => {
  const options = await serve([]);
  server.close();
  await expect(stateAt(options, 1)).rejects.toThrow();
  await expect(stateAt(options, -1)).rejects.toThrow(RangeError);
  await expect(seqs(eventsOf(options, { after: 0.5 }))).rejects.toThrow(RangeError);
});
