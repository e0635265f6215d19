import { describe, expect, it } from 'vitest';
import { decodeEvent, type SyncEvent } from '../src/protocol/event.js';
import { fromJson, toJson } from '../src/protocol/json.js';
import { between } from '../src/protocol/list.js';
import { Schema } from '../src/protocol/schema.js';
import {
  applySnapshot,
  Assembler,
  decodeSnapshot,
  encodeSnapshot,
  snapshotOf,
  stateOf,
  type Snapshot,
} from '../src/protocol/snapshot.js';
import { State } from '../src/protocol/state.js';
import { golden } from './golden.js';
import { decodeMessage, encodeMessage, hex, unhex } from './wire.js';

interface Logged {
  readonly json: string;
  readonly changed: boolean;
  readonly digest: string;
  readonly digests: Record<string, string>;
}

function read({ json }: Logged): SyncEvent {
  return decodeEvent(encodeMessage(fromJson(json)));
}

describe('every kind with every policy', () => {
  const { document, events, snapshots, lists } = golden<{
    document: string;
    events: Logged[];
    snapshots: { since: number; msgpack: string; json: string }[];
    lists: { collection: string; list: string | null; keys: string[] }[];
  }>('kinds');
  const schema = Schema.fromDocument(document);
  const log = events.map(read);

  function after(length: number): State {
    const state = new State(schema);
    for (const event of log.slice(0, length)) state.apply(event);
    return state;
  }

  it('g5_state_3_digest_1 agrees with the golden digests after each event', () => {
    const state = new State(schema);
    events.forEach(({ changed, digest, digests }, i) => {
      expect(state.apply(log[i] ?? expect.fail()) !== undefined, `event ${i + 1}`).toBe(changed);
      expect(state.digest(), `event ${i + 1}`).toBe(digest);
      expect(state.digests()).toEqual(digests);
    });
  });

  it.each(lists)('list_1 orders $list of $collection', ({ collection, list, keys }) => {
    const items = after(log.length).list(collection, list);
    expect(items.map(({ key }) => key)).toEqual(keys);
  });

  it.each(snapshots)('g5_snap_2 reads, writes and applies the snapshot since $since', (one) => {
    const snapshot = decodeSnapshot(unhex(one.msgpack));
    expect(hex(encodeSnapshot(snapshot))).toBe(one.msgpack);
    expect(toJson(decodeMessage(unhex(one.msgpack)))).toBe(one.json);
    const state = after(one.since);
    applySnapshot(state, snapshot);
    expect(state.digest()).toBe(snapshot.digest);
    for (const [name, entries] of after(log.length).schema.collections.map(
      (name) => [name, after(log.length).entries(name)] as const,
    ))
      expect(new Map(state.entries(name)), name).toEqual(new Map(entries));
  });

  it('g5_snap_2 goes on from a stored snapshot as from the events', () => {
    const whole = after(log.length);
    for (let split = 0; split <= log.length; split += 27) {
      const stored = encodeSnapshot(snapshotOf({ syncId: 'demo', channel: null }, after(split)));
      const state = stateOf(schema, decodeSnapshot(stored));
      for (const event of log.slice(split)) state.apply(event);
      expect(state.digests(), `split at ${split}`).toEqual(whole.digests());
    }
  });
});

describe('positions', () => {
  const { between: cases } = golden<{
    between: { lower: number[] | null; upper: number[] | null; position: number[] }[];
  }>('positions');

  it.each(cases)('list_5 between $lower and $upper is $position', ({ lower, upper, position }) => {
    expect(between(lower ?? undefined, upper ?? undefined)).toEqual(position);
  });
});

describe('parts', () => {
  const { parts, whole, sequences } = golden<{
    parts: string[];
    whole: string;
    sequences: { push: number[]; answers: string[] }[];
  }>('parts');

  it.each(sequences)('snap_8 the parts $push are $answers', ({ push, answers }) => {
    const assembler = new Assembler();
    const found = push.map((part) => answer(assembler, decodeSnapshot(unhex(parts[part - 1] ?? ''))));
    expect(found).toEqual(answers);
  });

  function answer(assembler: Assembler, part: Snapshot): string {
    try {
      const snapshot = assembler.push(part);
      if (snapshot === undefined) return 'pending';
      expect(hex(encodeSnapshot(snapshot))).toBe(whole);
      return 'whole';
    } catch (error) {
      expect((error as Error).name).toBe('MalformedError');
      return 'refused';
    }
  }
});
