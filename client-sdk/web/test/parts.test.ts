import { describe, expect, it } from 'vitest';
import { streamId } from '../src/protocol/ids.js';
import {
  Assembler,
  decodeSnapshot,
  encodeSnapshot,
  snapshotOf,
  type Snapshot,
} from '../src/protocol/snapshot.js';
import { ANN, only, stateAfter } from './history.js';

const SCHEMA = only({ kind: 'set', conflict: 'last_write_wins' });

function snapshot(keys: readonly string[]): Snapshot {
  const events = keys.map((k) => ({ type: 'add', data: { k }, by: ANN }));
  return { ...snapshotOf(streamId('home', null), stateAfter(SCHEMA, events)), mark: 3 };
}

/** One entry in each part. */
function split(whole: Snapshot): Snapshot[] {
  const entries = [...(whole.collections.get('c') ?? [])];
  return entries.map((entry, i) => ({
    ...whole,
    part: i + 1,
    parts: entries.length,
    collections: new Map([['c', new Map([entry])]]),
  }));
}

describe('parts', () => {
  const whole = snapshot(['a', 'b', 'c']);
  const parts = split(whole).map((part) => decodeSnapshot(encodeSnapshot(part)));

  it('snap_8 are the whole message once the last one is here, and nothing before', () => {
    const assembler = new Assembler();
    expect(parts.map((part) => assembler.push(part))).toEqual([undefined, undefined, whole]);
    expect(assembler.push(whole)).toEqual(whole);
  });

  it('snap_8 a part 1 starts over', () => {
    const assembler = new Assembler();
    const [first, second] = parts as [Snapshot, Snapshot];
    assembler.push(first);
    assembler.push(second);
    expect(parts.map((part) => assembler.push(part)).at(-1)).toEqual(whole);
  });

  it.each([
    ['that skips one', [0, 2]],
    ['that comes twice', [0, 1, 1]],
    ['without the first', [1]],
  ])('snap_8 refuses a part %s', (_, order) => {
    const assembler = new Assembler();
    const given = order.map((i) => parts[i] as Snapshot);
    for (const part of given.slice(0, -1)) assembler.push(part);
    expect(() => assembler.push(given.at(-1) as Snapshot)).toThrow(
      expect.objectContaining({ name: 'MalformedError' }),
    );
  });

  it('snap_8 refuses a part of another message, and an entry in two parts', () => {
    const [first, second] = parts as [Snapshot, Snapshot];
    for (const other of [
      { ...second, seq: 9 },
      { ...second, collections: first.collections },
      { ...second, mark: 4 },
    ]) {
      const assembler = new Assembler();
      assembler.push(first);
      const rest = [other, { ...(parts[2] as Snapshot), seq: other.seq, mark: other.mark }];
      expect(() => rest.forEach((part) => assembler.push(part))).toThrow();
    }
  });
});
