/**
 * Collections by their kind: what an app calls them, and what their values are.
 *
 * The schema of the broker says what kind a collection is and what its events are called. A collection of another kind is told so
 * at its first change (`cannot_say`). What is read may be of any type that somebody wrote; the type parameter is the app's word.
 */
import type { Receipt } from './api.js';
import { act, type Changes } from './change.js';
import type { Value } from './protocol/value.js';

/** An item of a list. */
export interface Item<V extends Value> {
  readonly key: string;
  readonly value: V;
}

/** Behind what an item is put: another one's key, `null`: at the beginning, `undefined`: at the end. */
export type After = string | null | undefined;

/** A `set`: keys that are in or not. */
export interface SetOf {
  /** Puts a key in; in a set that has it already, that is said anew. */
  add(key: string): Promise<Receipt>;
  /** Takes a key out. */
  remove(key: string): Promise<Receipt>;
  /** Whether it is in, own unconfirmed changes included. */
  has(key: string): boolean;
  /** Ascending by their UTF-8 bytes. */
  keys(): string[];
}

/** A `map`: keys with values. */
export interface MapOf<V extends Value> {
  /** Sets the value under a key. */
  put(key: string, value: V): Promise<Receipt>;
  /** Takes the key out. */
  remove(key: string): Promise<Receipt>;
  /** undefined: there is none. */
  get(key: string): V | undefined;
  /** Ascending by the UTF-8 bytes of their keys. */
  entries(): Item<V>[];
}

/** A `counter`: keys with sums. */
export interface CounterOf {
  /** Less than zero takes away. A counter whose schema names no `amount` takes 1 alone. */
  add(key: string, amount?: number): Promise<Receipt>;
  /** 0 where nothing was counted. */
  get(key: string): number;
}

/** A `list`: items in an order. */
export interface ListOf<V extends Value> {
  /** Puts an item in, under a key of its own: so a value can be in many lists, and twice in one. */
  put(item: string, value: V, after?: After): Promise<Receipt>;
  /** Moves an item, also from another list of the collection; undefined: there is no such item. */
  move(item: string, after?: After): Promise<Receipt | undefined>;
  /** Takes an item out. */
  remove(item: string): Promise<Receipt>;
  /** In their order. */
  items(): Item<V>[];
}

/**
 * A `set` of the schema, by its name.
 *
 * @example
 * await setOf(sync, 'albums').add('lantern-year');
 */
export function setOf(sync: Changes, collection: string): SetOf {
  return {
    add: (key) => act(sync, collection, key, { type: 'put', value: true }),
    remove: (key) => act(sync, collection, key, { type: 'remove' }),
    has: (key) => sync.has(collection, key),
    keys: () => sync.entries(collection).map(({ key }) => key),
  };
}

/**
 * A `map` of the schema, by its name; `V`: what the app puts in.
 *
 * @example
 * await mapOf<number>(sync, 'ratings').put('t7', 4);
 */
export function mapOf<V extends Value = Value>(sync: Changes, collection: string): MapOf<V> {
  return {
    put: (key, value) => act(sync, collection, key, { type: 'put', value }),
    remove: (key) => act(sync, collection, key, { type: 'remove' }),
    get: (key) => sync.value(collection, key) as V | undefined,
    entries: () => sync.entries(collection).map(({ key, value }) => ({ key, value: value as V })),
  };
}

/**
 * A `counter` of the schema, by its name.
 *
 * @example
 * await counterOf(sync, 'plays').add('t7');
 */
export function counterOf(sync: Changes, collection: string): CounterOf {
  return {
    add: (key, amount = 1) => act(sync, collection, key, { type: 'count', amount }),
    get: (key) => (sync.value(collection, key) as number | undefined) ?? 0,
  };
}

/**
 * A `list` of the schema, by its name. `list`: which one, where the schema makes several of the collection.
 *
 * @example
 * await listOf<string>(sync, 'playlists', 'sunday').put('i2', 't7', 'i1'); // behind i1
 */
export function listOf<V extends Value = Value>(sync: Changes, collection: string, list?: string): ListOf<V> {
  const place = (item: string, value: Value, after: After): Promise<Receipt> =>
    act(sync, collection, item, { type: 'place', value, list: list ?? null, after });
  return {
    put: (item, value, after) => place(item, value, after),
    move: async (item, after) => {
      const value = sync.value(collection, item);
      return value === undefined ? undefined : place(item, value, after);
    },
    remove: (item) => act(sync, collection, item, { type: 'remove' }),
    items: () => sync.list(collection, list).map(({ key, value }) => ({ key, value: value as V })),
  };
}
