import { describe, expect, it } from 'vitest';
import { between, comparePositions } from '../src/protocol/list.js';
import type { State } from '../src/protocol/state.js';
import type { Value } from '../src/protocol/value.js';
import { ANN, BEN, CAT, only, stateAfter, type Said } from './history.js';

const SPEC = { kind: 'list', conflict: 'last_write_wins', after: 'after', value: 'v', list: 'l' };

/** `after` undefined: at the end; null: at the beginning. */
function place(key: string, after?: string | null, more: Partial<Said> & { list?: string } = {}): Said {
  const { list = 'a', ...rest } = more;
  const data: Record<string, Value> = { k: key, l: list, v: key.toUpperCase() };
  return { type: 'add', data: after === undefined ? data : { ...data, after }, by: ANN, ...rest };
}

function take(key: string, more: Partial<Said> = {}): Said {
  return { type: 'remove', data: { k: key }, by: ANN, ...more };
}

function play(events: readonly Said[], spec: Record<string, Value> = SPEC): State {
  return stateAfter(only(spec), events);
}

function keys(state: State, list: string | null = 'a'): string {
  return state
    .list('c', list)
    .map(({ key }) => key)
    .join('');
}

const ABC = [place('a'), place('b'), place('c')];

describe('places', () => {
  it('list_2 at the end, at the beginning, behind another', () => {
    expect(keys(play([...ABC, place('d', null), place('e', 'a')]))).toBe('daebc');
  });

  it('list_2 an add of an item that is there moves it', () => {
    expect(keys(play([...ABC, place('a', 'c')]))).toBe('bca');
    expect(keys(play([...ABC, place('c', null)]))).toBe('cab');
    expect(keys(play([...ABC, place('a', 'b')]))).toBe('bac');
  });

  it('list_2 the value is the one at its name, true without one', () => {
    expect(play([place('a')]).list('c', 'a')).toEqual([{ key: 'a', value: 'A' }]);
    const { list, after, kind, conflict } = SPEC;
    const bare = play([place('a')], { list, after, kind, conflict });
    expect(bare.list('c', 'a')).toEqual([{ key: 'a', value: true }]);
  });

  it('list_1 keeps the lists of a collection apart', () => {
    const state = play([...ABC, place('x', undefined, { list: 'z' }), place('b', 'x', { list: 'z' })]);
    expect([keys(state), keys(state, 'z')]).toEqual(['ac', 'xb']);
  });

  it('list_1 without a name for it, the collection is one list', () => {
    const { value, after, kind, conflict } = SPEC;
    expect(keys(play(ABC, { value, after, kind, conflict }), null)).toBe('abc');
  });

  it.each([
    ['itself', place('b', 'b'), 'acb'],
    ['an absent one', place('d', 'nobody'), 'abcd'],
    ['one in another list', place('d', 'a', { list: 'z' }), 'abc'],
  ])('list_3 behind %s is at the end', (_, event, expected) => {
    expect(keys(play([...ABC, event]))).toBe(expected);
  });

  it('list_3 behind a removed one: at its place for who missed the removal, else at the end', () => {
    const removed = [...ABC, take('a')];
    expect(keys(play([...removed, place('d', 'a', { by: BEN, base: 3 })]))).toBe('dbc');
    expect(keys(play([...removed, place('d', 'a', { by: BEN, base: 4 })]))).toBe('bcd');
  });

  it('list_4 a second removal that saw the first has no place', () => {
    const twice = [...ABC, take('a'), take('a', { by: BEN })];
    expect(play(twice).entry('c', 'a')?.shown.place).toBeUndefined();
    expect(keys(play([...twice, place('d', 'a', { by: CAT, base: 3 })]))).toBe('bcd');
    const concurrent = [...ABC, take('a', { clock: 5 }), take('a', { by: BEN, base: 3, clock: 6 })];
    expect(play(concurrent).entry('c', 'a')?.shown.place?.position).toEqual([0]);
  });

  it('list_3 concurrent inserts behind one item all survive', () => {
    const events = [...ABC, place('d', 'a', { by: BEN, base: 3 }), place('e', 'a', { by: CAT, base: 3 })];
    expect(keys(play(events))).toBe('aedbc');
  });

  it('list_1 concurrent moves of one item follow the policy', () => {
    const late = place('a', 'c', { by: BEN, base: 3, clock: 9 });
    expect(keys(play([...ABC, late, place('a', 'b', { by: CAT, base: 3, clock: 8 })]))).toBe('bca');
  });

  it.each([
    ['no list', { k: 'x', v: 1 }],
    ['a list that is no text', { k: 'x', v: 1, l: 1 }],
    ['no value', { k: 'x', l: 'a' }],
    ['an after that is no text', { k: 'x', v: 1, l: 'a', after: 1 }],
  ])('state_11 an add with %s is bad data', (_, data) => {
    expect(only(SPEC).operation('add', data)).toBe('bad_data');
  });
});

describe('positions', () => {
  it.each([
    [undefined, undefined, [0]],
    [[4, 7], undefined, [5]],
    [undefined, [4, 7], [3]],
    [[1], [1, 5], [1, 4]],
    [[1], [1, 5, 2], [1, 4]],
    [[1], [3], [2]],
    [
      [1, 2, 9],
      [1, 8],
      [1, 3],
    ],
    [[1], [2], [1, 0]],
    [[1, 4], [2], [1, 5]],
    [
      [1, 4, 4],
      [2, -3],
      [1, 5],
    ],
  ])('list_5 between %j and %j is %j', (below, above, expected) => {
    const found = between(below, above);
    expect(found).toEqual(expected);
    if (below) expect(comparePositions(below, found)).toBeLessThan(0);
    if (above) expect(comparePositions(found, above)).toBeLessThan(0);
  });

  it('list_5 more than 32 elements is the lower one itself', () => {
    const below = Array.from({ length: 32 }, () => 0);
    const above = [...below.slice(0, 31), 1];
    expect(between(below, above)).toBe(below);
    expect(between(below.slice(0, 31), below)).toHaveLength(32);
  });

  it('list_5 beyond the integers a place is taken twice', () => {
    const most = Number.MAX_SAFE_INTEGER;
    expect(between([most], undefined)).toEqual([most]);
    expect(between(undefined, [-most])).toEqual([-most]);
    expect(between([3], [3, -most])).toEqual([3]);
  });

  it('list_1 a beginning of another is the lower, equal ones go by key', () => {
    expect(comparePositions([1], [1, -5])).toBeLessThan(0);
    expect(comparePositions([1, 0], [1])).toBeGreaterThan(0);
    expect(comparePositions([2], [1, 9])).toBeGreaterThan(0);
    const deep = Array.from({ length: 40 }, (_, i) => place(`i${i}`, 'a'));
    const state = play([place('a'), place('z'), ...deep]);
    const order = state.list('c', 'a').map(({ key }) => key);
    expect(order[0]).toBe('a');
    expect(order.at(-1)).toBe('z');
    expect(order).toHaveLength(42);
  });
});
