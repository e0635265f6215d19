import { describe, expect, it } from 'vitest';
import { digestText, entryDigest } from '../src/protocol/digest.js';
import { entryMap, isLive, readEntry, type StateEntry } from '../src/protocol/entry.js';
import { streamId } from '../src/protocol/ids.js';
import { decodeSnapshot, encodeSnapshot, snapshotOf, stateOf } from '../src/protocol/snapshot.js';
import type { State } from '../src/protocol/state.js';
import type { Value, ValueMap } from '../src/protocol/value.js';
import { ANN, BEN, CAT, eventAt, only, stateAfter, type Said } from './history.js';

const add = (by: string, base?: number, clock?: number): Said => said('add', { k: 'x' }, by, base, clock);
const remove = (by: string, base?: number, clock?: number): Said =>
  said('remove', { k: 'x' }, by, base, clock);
const put = (value: Value, by: string, base?: number, clock?: number): Said =>
  said('add', { k: 'x', v: value }, by, base, clock);

function said(type: string, data: Value, by: string, base?: number, clock?: number): Said {
  return {
    type,
    data,
    by,
    ...(base === undefined ? {} : { base }),
    ...(clock === undefined ? {} : { clock }),
  };
}

/** The entry `x`: its open acts by seq, shown first, a removal as a negative seq; and `changed`. */
function acts(state: State): { acts: number[]; changed: number } | undefined {
  const entry = state.entry('c', 'x');
  if (entry === undefined) return undefined;
  const all = [entry.shown, ...entry.conflicts];
  return { acts: all.map((act) => (isLive(act) ? act.seq : -act.seq)), changed: entry.changed };
}

/** The digest of a collection, made anew of its entries as they travel. */
function digestAnew(state: State): string {
  const live = [...state.entries('c')].filter(([, { shown }]) => isLive(shown));
  const sum = live.reduce((all, [key, entry]) => all + entryDigest('c', key, entryMap(entry)), 0n);
  return digestText(sum);
}

interface Case {
  readonly rule: string;
  readonly events: readonly Said[];
  readonly acts: readonly number[] | undefined;
  readonly changed?: number;
}

function play(conflict: string, extra: ValueMap, { events, acts: expected, changed }: Case): void {
  const state = stateAfter(only({ kind: 'map', conflict, value: 'v', ...extra }), events.map(withValue));
  const found = acts(state);
  expect(found?.acts).toEqual(expected);
  if (changed !== undefined) expect(found?.changed).toBe(changed);
  expect(state.digest()).toBe(digestAnew(state));
}

/** Tests that do not care for the value leave it out. */
function withValue(one: Said): Said {
  const data = one.data as ValueMap;
  return one.type === 'add' && !('v' in data) ? { ...one, data: { ...data, v: true } } : one;
}

describe('last_write_wins', () => {
  const cases: Case[] = [
    {
      rule: 'state_4 what saw the winner replaces it, whatever its clock',
      events: [add(ANN, 0, 9), remove(BEN, 1, 1)],
      acts: [-2],
    },
    {
      rule: 'state_4 of concurrent ones the higher clock stays',
      events: [add(ANN, 0, 9), remove(BEN, 0, 1)],
      acts: [1],
      changed: 1,
    },
    {
      rule: 'state_4 with equal clocks the higher device stays',
      events: [add(BEN, 0, 5), remove(ANN, 0, 5)],
      acts: [1],
    },
    { rule: 'state_2 a device saw its own', events: [add(ANN, 0, 9), remove(ANN, 0, 1)], acts: [-2] },
    { rule: 'state_4 a removal of what is not there is kept', events: [remove(ANN)], acts: [-1] },
  ];
  it.each(cases)('$rule', (one) => play('last_write_wins', {}, one));
});

describe('add_wins', () => {
  const cases: Case[] = [
    {
      rule: 'state_6 concurrent adds stand side by side, the highest shown',
      events: [add(ANN, 0, 1), add(BEN, 0, 3), add(CAT, 0, 2)],
      acts: [2, 3, 1],
      changed: 3,
    },
    {
      rule: 'state_6 a removal takes the adds that it saw only',
      events: [add(ANN, 0), add(BEN, 0), remove(CAT, 1)],
      acts: [2],
      changed: 3,
    },
    {
      rule: 'state_6 a removal that saw all stands alone',
      events: [add(ANN, 0), add(BEN, 0), remove(CAT, 2)],
      acts: [-3],
    },
    {
      rule: 'state_6 a removal that saw none changes nothing',
      events: [add(ANN, 0), remove(BEN, 0)],
      acts: [1],
      changed: 1,
    },
    { rule: 'state_6 a removal of what is absent changes nothing', events: [remove(ANN)], acts: undefined },
    {
      rule: 'state_6 a removal of what is removed changes nothing',
      events: [add(ANN), remove(ANN), remove(BEN)],
      acts: [-2],
      changed: 2,
    },
    {
      rule: 'state_6 an add that missed the removal brings it back',
      events: [add(ANN), remove(ANN), add(BEN, 0, 1)],
      acts: [3],
    },
    {
      rule: 'state_6 an add replaces the adds that it saw',
      events: [add(ANN, 0), add(BEN, 0), add(CAT, 1)],
      acts: [3, 2],
    },
  ];
  it.each(cases)('$rule', (one) => play('add_wins', {}, one));
});

describe('remove_wins', () => {
  const cases: Case[] = [
    {
      rule: 'state_7 a removal takes a live act in any case',
      events: [add(ANN, 0, 9), remove(BEN, 0, 1)],
      acts: [-2],
    },
    {
      rule: 'state_7 an add that missed the removal leaves nothing behind',
      events: [add(ANN), remove(BEN), add(CAT, 1, 9)],
      acts: [-2],
      changed: 2,
    },
    {
      rule: 'state_7 an add that saw all removals is live',
      events: [remove(ANN, 0), remove(BEN, 0), add(CAT, 2)],
      acts: [3],
    },
    {
      rule: 'state_7 an add removes the removals that it saw',
      events: [remove(ANN, 0), remove(BEN, 0), add(CAT, 1)],
      acts: [-2],
      changed: 3,
    },
    {
      rule: 'state_7 removals that missed each other stand side by side',
      events: [remove(ANN, 0, 5), remove(BEN, 0, 3)],
      acts: [-1, -2],
      changed: 2,
    },
    { rule: 'state_7 between adds, state_4 decides', events: [add(ANN, 0, 9), add(BEN, 0, 1)], acts: [1] },
  ];
  it.each(cases)('$rule', (one) => play('remove_wins', {}, one));
});

describe('keep_both', () => {
  const cases: Case[] = [
    {
      rule: 'state_8 concurrent values stay open, the highest shown',
      events: [put('a', ANN, 0), put('b', BEN, 0)],
      acts: [2, 1],
      changed: 2,
    },
    {
      rule: 'state_8 an event that saw all settles',
      events: [put('a', ANN, 0), put('b', BEN, 0), put('c', ANN, 2)],
      acts: [3],
    },
    {
      rule: 'state_8 a removal is a value, and not shown while one is live',
      events: [put('a', ANN, 0), remove(BEN, 0, 9)],
      acts: [1, -2],
      changed: 2,
    },
    {
      rule: 'state_8 the highest removal is shown if none is live',
      events: [remove(ANN, 0, 9), remove(BEN, 0, 1)],
      acts: [-1, -2],
      changed: 2,
    },
    {
      rule: 'state_8 above open_values_max the lowest goes',
      events: [put('a', ANN, 0, 2), put('b', BEN, 0, 3), put('c', CAT, 0, 4)],
      acts: [3, 2],
      changed: 3,
    },
    {
      rule: 'state_8 the lowest may be the event itself',
      events: [put('a', ANN, 0, 2), put('b', BEN, 0, 3), put('c', CAT, 0, 1)],
      acts: [2, 1],
      changed: 2,
    },
  ];
  it.each(cases)('$rule', (one) => play('keep_both', { open_values_max: 2 }, one));
});

describe('counter', () => {
  const count = (amount: Value, by: string, base?: number): Said =>
    said('add', { k: 'x', n: amount }, by, base);
  const value = (events: Said[]): Value | undefined =>
    stateAfter(only({ kind: 'counter', amount: 'n' }), events).entry('c', 'x')?.shown.value;

  it('state_10 every add counts, whoever saw what', () => {
    expect(value([count(2, ANN, 0), count(3, BEN, 0), count(-1, ANN, 0)])).toBe(4);
  });

  it('state_10 counts 1 without an amount, and where the schema names none', () => {
    expect(value([said('add', { k: 'x' }, ANN)])).toBe(1);
    const state = stateAfter(only({ kind: 'counter' }), [count(7, ANN)]);
    expect(state.entry('c', 'x')?.shown.value).toBe(1);
  });

  it('state_10 a sum beyond the integers changes nothing', () => {
    const most = Number.MAX_SAFE_INTEGER;
    expect(
      value([count(most, ANN), count(1, BEN), count(-most, CAT), count(-most, CAT), count(-1, ANN)]),
    ).toBe(-most);
  });

  it.each([0.5, '1', null, [1]])('state_11 an amount of %j changes nothing', (amount) => {
    expect(value([count(2, ANN), count(amount, ANN)])).toBe(2);
  });
});

describe('values', () => {
  it('state_9 any value may be in a map, and it must be there', () => {
    const schema = only({ kind: 'map', conflict: 'last_write_wins', value: 'v' });
    expect(schema.operation('add', { k: 'x', v: null })).toMatchObject({
      action: { type: 'put', value: null },
    });
    expect(schema.operation('add', { k: 'x' })).toBe('bad_data');
    expect(schema.operation('remove', { k: 'x' })).toMatchObject({ action: { type: 'remove' } });
  });

  it.each([null, 'x', { k: 1 }, { k: '__proto__' }, { k: '$bytes' }])('state_5 %j has no key', (data) => {
    const schema = only({ kind: 'set', conflict: 'add_wins' });
    expect(schema.operation('add', data)).toBe('bad_data');
  });

  it('state_5 what every object has is not in event_data', () => {
    const schema = only({ kind: 'map', conflict: 'last_write_wins', value: 'toString' });
    expect(schema.operation('add', { k: 'x' })).toBe('bad_data');
  });

  it('state_1 a type that the schema does not name changes nothing', () => {
    const schema = only({ kind: 'set', conflict: 'add_wins' });
    expect(schema.operation('played', { k: 'x' })).toBeUndefined();
    expect(schema.operation('toString', { k: 'x' })).toBeUndefined();
  });
});

describe('entries on the wire', () => {
  const events = [put('a', ANN, 0), put('b', BEN, 0), put('c', CAT, 1, 1)];

  it("state_3 changed is left out where it is the shown act's seq", () => {
    const state = stateAfter(
      only({ kind: 'map', conflict: 'keep_both', value: 'v', open_values_max: 8 }),
      events,
    );
    const entry = state.entry('c', 'x') as StateEntry;
    expect(entry.changed).toBe(3);
    expect(entryMap(entry)).toMatchObject({
      value: 'b',
      seq: 2,
      changed: 3,
      conflicts: [{ value: 'c', seq: 3 }],
    });
    expect(readEntry(entryMap(entry))).toEqual(entry);
    expect(entryMap({ ...entry, changed: 2 })).not.toHaveProperty('changed');
    expect(readEntry(entryMap({ ...entry, changed: 2 })).changed).toBe(2);
  });

  it.each([
    ['a position that is no array', { position: 1 }],
    ['an empty position', { position: [] }],
    ['a position that is too long', { position: Array.from({ length: 33 }, () => 0) }],
    ['a position of doubles', { position: [0.5] }],
    ['a list that is no text', { position: [0], list: 1 }],
    ['conflicts that are no acts', { conflicts: [1] }],
    ['a removed that is not true', { removed: false }],
    ['changed that is no seq', { changed: 0 }],
  ])('state_3 refuses %s', (_, change) => {
    const state = stateAfter(only({ kind: 'set', conflict: 'add_wins' }), [add(ANN)]);
    const entry = entryMap(state.entry('c', 'x') as StateEntry);
    expect(() => readEntry({ ...entry, ...change })).toThrow(
      expect.objectContaining({ name: 'MalformedError' }),
    );
  });

  it('snap_2 a stored state goes on as the state itself, conflicts and all', () => {
    const schema = only({ kind: 'map', conflict: 'keep_both', value: 'v', open_values_max: 8 });
    const state = stateAfter(schema, events);
    const again = stateOf(schema, decodeSnapshot(encodeSnapshot(snapshotOf(streamId('home', null), state))));
    const next = eventAt(4, put('d', ANN, 2));
    state.apply(next);
    again.apply(next);
    expect(again.entry('c', 'x')).toEqual(state.entry('c', 'x'));
    expect(again.digest()).toBe(state.digest());
  });

  it('value_4 a value of full depth fits into a conflict of a snapshot', () => {
    let deep: Value = 1;
    for (let i = 0; i < 31; i++) deep = [deep];
    const schema = only({ kind: 'map', conflict: 'keep_both', value: 'v', open_values_max: 8 });
    const state = stateAfter(schema, [put(deep, ANN, 0, 1), put('b', BEN, 0, 2)]);
    const snapshot = decodeSnapshot(encodeSnapshot(snapshotOf(streamId('home', null), state)));
    expect(snapshot.collections.get('c')?.get('x')?.conflicts[0]?.value).toEqual(deep);
  });
});
