import { describe, expect, it } from 'vitest';
import { decodeCanonical, encodeCanonical } from '../src/protocol/canonical.js';
import { decodeEvent, encodeEvent, encodeIntent } from '../src/protocol/event.js';
import {
  eventsTopic,
  presenceDevice,
  sinceFilter,
  streamId,
  uuidBytes,
  uuidText,
  uuidV4,
} from '../src/protocol/ids.js';
import { fromJson, toJson } from '../src/protocol/json.js';
import { decodePresence } from '../src/protocol/presence.js';
import { decodeRefusal } from '../src/protocol/refusal.js';
import { Schema } from '../src/protocol/schema.js';
import {
  applySnapshot,
  decodeSnapshot,
  encodeSnapshot,
  snapshotOf,
  stateOf,
} from '../src/protocol/snapshot.js';
import { State } from '../src/protocol/state.js';
import { compareUtf8, isMap, toValue, type Value, type ValueMap } from '../src/protocol/value.js';
import { golden, starSchema } from './golden.js';
import { decodeMessage, encodeMessage, hex, unhex } from './wire.js';

interface Json {
  readonly json: string;
}

describe('values', () => {
  const { values, refused, refused_json } = golden<{
    values: (Json & { canonical: string; printed: string })[];
    refused: { msgpack: string; rule: string }[];
    refused_json: (Json & { rule: string })[];
  }>('values');

  it.each(values)('value_7 writes $json', ({ json, canonical, printed }) => {
    const value = fromJson(json);
    expect(hex(encodeCanonical(value))).toBe(canonical);
    expect(toJson(value)).toBe(printed);
    expect(toJson(decodeCanonical(unhex(canonical)))).toBe(printed);
  });

  it.each(refused)('$rule refuses $msgpack', ({ msgpack }) => {
    expect(() => decodeCanonical(unhex(msgpack))).toThrow(expect.objectContaining({ name: 'BadValueError' }));
  });

  it.each(refused_json)('$rule refuses $json', ({ json }) => {
    expect(() => fromJson(json)).toThrow(expect.objectContaining({ name: 'BadValueError' }));
  });

  it.each([NaN, Infinity, undefined, () => 1, new Date(), new Map(), '\ud800', { $bytes: 'x' }, 2n ** 53n])(
    'value_1 refuses what an app may pass by mistake: %s',
    (input) => expect(() => toValue(input)).toThrow(expect.objectContaining({ name: 'BadValueError' })),
  );

  it('value_1 copies, so that later changes by the app do not reach the outbox', () => {
    const input = { list: [1], bytes: new Uint8Array([1]) };
    const value = toValue(input);
    input.list.push(2);
    input.bytes[0] = 9;
    expect(value).toEqual({ list: [1], bytes: new Uint8Array([1]) });
  });

  it('value_7 orders keys by UTF-8 bytes', () => {
    const keys = ['\u{10000}', '\uffff', '\ue000', 'é', 'z', 'a', 'aa', ''];
    const sorted = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect([...keys].sort(compareUtf8)).toEqual(sorted);
  });
});

describe('ids and topics', () => {
  const stream = streamId('music', null);

  it('topic_1 names the topics of a stream', () => {
    expect(eventsTopic(stream)).toBe('sync/music/events');
    expect(eventsTopic(streamId('music', 'room-1'))).toBe('sync/music/room-1/events');
  });

  it.each(['', 'a/b', 'ä', 'x'.repeat(65)])('topic_1 refuses the sync id %j', (name) => {
    expect(() => streamId(name, null)).toThrow(RangeError);
  });

  it.each(['', 'events', 'state', 'presence', 'errors'])('topic_2 refuses the channel %j', (name) => {
    expect(() => streamId('music', name)).toThrow(RangeError);
  });

  it('view_4 opens with 0-0 the first time', () => {
    expect(sinceFilter(stream, 0, '0'.repeat(16))).toBe('$since/0-0/sync/music/events');
    expect(sinceFilter(stream, 7, '00c0ffee00c0ffee')).toBe('$since/7-00c0ffee00c0ffee/sync/music/events');
  });

  it('knows the device of a presence topic', () => {
    const device = '6a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d';
    expect(presenceDevice('music', `sync/music/presence/${device}`)).toBe(device);
    expect(presenceDevice('music', `sync/other/presence/${device}`)).toBeUndefined();
    expect(presenceDevice('music', 'sync/music/presence/x')).toBeUndefined();
  });

  it('writes UUIDs as text and as bytes', () => {
    const uuid = uuidV4(new Uint8Array(16).fill(0xff));
    expect(uuid).toBe('ffffffff-ffff-4fff-bfff-ffffffffffff');
    expect(uuidText(uuidBytes(uuid))).toBe(uuid);
  });
});

describe('events', () => {
  const { events, intents } = golden<{
    events: (Json & { msgpack: string; printed: string })[];
    intents: (Json & { msgpack: string })[];
  }>('events');

  it.each(events)('event_1 reads and writes $printed', ({ json, msgpack, printed }) => {
    expect(hex(encodeMessage(fromJson(json)))).toBe(msgpack);
    expect(hex(encodeEvent(decodeEvent(unhex(msgpack))))).toBe(msgpack);
    expect(toJson(decodeMessage(unhex(msgpack)))).toBe(printed);
  });

  it.each(intents.filter(({ json }) => json.includes('device_seq')))(
    'writes the intent $json',
    ({ json, msgpack }) => {
      const map = fromJson(json) as ValueMap;
      const payload = encodeIntent({
        eventType: map['event_type'] as string,
        eventData: map['event_data'] as Value,
        deviceUuid: map['device_uuid'] as string,
        deviceSeq: map['device_seq'] as number,
        clock: { timestamp: map['timestamp'] as number, counter: map['counter'] as number },
        baseSeq: map['base_seq'] as number,
        epoch: (map['epoch'] ?? null) as string | null,
      });
      expect(hex(payload)).toBe(msgpack);
    },
  );
});

describe('presence and errors', () => {
  const { presence, errors } =
    golden<Record<'presence' | 'errors', (Json & { msgpack: string })[]>>('messages');

  it.each(presence)('presence_1 reads $json', ({ json, msgpack }) => {
    const expected = fromJson(json) as ValueMap;
    const { deviceUuid, ...rest } = decodePresence('here', unhex(msgpack));
    expect({ device_uuid: deviceUuid, ...rest }).toEqual({ ...expected, device_uuid: 'here' });
  });

  it.each(errors)('answer_5 reads $json', ({ json, msgpack }) => {
    const expected = fromJson(json) as ValueMap;
    expect(decodeRefusal(unhex(msgpack))).toEqual({
      name: expected['error'],
      reason: expected['reason'],
      syncId: expected['sync_id'],
      channel: expected['channel'],
      deviceSeq: expected['device_seq'] ?? null,
    });
  });
});

describe('schemas', () => {
  const { schemas, refused_documents } = golden<{
    schemas: { document: string; hash: string }[];
    refused_documents: { document: string; error: string }[];
  }>('schemas');

  it.each(schemas)('schema_2 hashes $document', ({ document, hash }) => {
    expect(Schema.fromDocument(document).hash).toBe(hash);
  });

  it.each(refused_documents)('schema_1 refuses: $error', ({ document }) => {
    expect(() => Schema.fromDocument(document)).toThrow(expect.objectContaining({ name: 'MalformedError' }));
    const schema = /"schema"/.test(document) ? (JSON.parse(document) as ValueMap)['schema'] : undefined;
    // Not only because of the hash.
    if (isMap(schema))
      expect(() => Schema.fromMap(schema)).toThrow(expect.objectContaining({ name: 'MalformedError' }));
  });

  it.each([
    ['another hash', (document: string) => document.replace('"add"', '"aid"')],
    ['no JSON', () => 'x'],
    ['no map', () => '[]'],
  ])('schema_3 refuses %s', (_, change) => {
    expect(() => Schema.fromDocument(change(schemas[0]?.document ?? ''))).toThrow(
      expect.objectContaining({ name: 'MalformedError' }),
    );
  });
});

describe('state', () => {
  const { events, snapshots } = golden<{
    events: (Json & { changed: boolean; digest: string; digests: Record<string, string> })[];
    snapshots: { since: number; msgpack: string; json: string }[];
  }>('states');
  const log = events.map(({ json }) => decodeEvent(encodeMessage(fromJson(json))));

  it('g5_state_4 agrees with the golden digests after each event', () => {
    const state = new State(starSchema());
    events.forEach(({ changed, digest, digests }, i) => {
      const place = state.apply(log[i] ?? expect.fail());
      expect(place !== undefined, `event ${i + 1}`).toBe(changed);
      expect(state.digest()).toBe(digest);
      expect(state.digests()).toEqual(digests);
    });
  });

  it.each(snapshots)('snap_2 reads and writes the snapshot since $since', ({ msgpack, json }) => {
    const snapshot = decodeSnapshot(unhex(msgpack));
    expect(hex(encodeSnapshot(snapshot))).toBe(msgpack);
    expect(toJson(decodeMessage(unhex(msgpack)))).toBe(json);
  });

  it('g5_snap_2 makes one state of every split into a prefix and a delta', () => {
    for (const { since, msgpack } of snapshots) {
      const state = new State(starSchema());
      for (const event of log.slice(0, since)) state.apply(event);
      const delta = decodeSnapshot(unhex(msgpack));
      applySnapshot(state, delta);
      expect(state.digest(), `since ${since}`).toBe(delta.digest);
      expect(state.seq).toBe(delta.seq);
    }
  });

  it('g5_snap_2 goes on from a stored snapshot as from the events', () => {
    const whole = new State(starSchema());
    for (const event of log) whole.apply(event);
    for (let split = 0; split <= log.length; split++) {
      const first = new State(starSchema());
      for (const event of log.slice(0, split)) first.apply(event);
      const stored = encodeSnapshot(snapshotOf(streamId('demo', null), first));
      const second = stateOf(starSchema(), decodeSnapshot(stored));
      for (const event of log.slice(split)) second.apply(event);
      expect(second.digest(), `split at ${split}`).toBe(whole.digest());
    }
  });

  it('digest_1 leaves tombstones out and counts live entries', () => {
    const state = new State(starSchema());
    const [first] = log;
    if (first === undefined) return expect.fail();
    state.apply(first);
    state.apply({ ...first, seq: 2, baseSeq: 1, eventType: 'unstar_album' });
    expect(state.digest()).toBe('0'.repeat(32));
    expect(isMap(first.eventData)).toBe(true);
  });
});
