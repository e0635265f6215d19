/**
 * The collections of a schema that an app knows when it is written, each with the changes that its kind has.
 *
 * Only the shape is needed here: which event says a change is what the broker's schema says, so a schema that has changed
 * since is found by the change that it cannot say any more (`cannot_say`), not by a silent difference.
 */
import type { Changes } from './change.js';
import {
  counterOf,
  listOf,
  mapOf,
  setOf,
  type CounterOf,
  type ListOf,
  type MapOf,
  type SetOf,
} from './collections.js';
import type { Kind } from './protocol/schema.js';
import type { Value } from './protocol/value.js';

/** What types need of a collection; all else that the broker's schema says of it may stand there, too. */
export interface CollectionShape {
  readonly kind: Kind;
  /** Of a `list`: that an item has a value. Without it, what is in the list is `true`. */
  readonly value?: string;
  /** Of a `list`: that the collection has several, each with a name. */
  readonly list?: string;
}

/** The collections of a schema. `syncline-types` writes one from the broker's. */
export interface SchemaShape {
  readonly collections: Readonly<Record<string, CollectionShape>>;
}

/** Says of a literal that it is a schema's shape, and keeps its types. */
export function defineSchema<const S extends SchemaShape>(schema: S): S {
  return schema;
}

/** Types of the values by collection; a `map` or a `list` that is not named holds any {@link Value}. */
export type ValueTypes<S extends SchemaShape> = { readonly [N in keyof S['collections']]?: Value };

type ValueOf<V, N> = N extends keyof V ? Extract<V[N], Value> : Value;

type ListItem<C, V, N> = C extends { readonly value: string } ? ValueOf<V, N> : true;

/** One collection of a shape; `V`: the types of values, by collection. */
export type CollectionOf<C extends CollectionShape, V, N> = C['kind'] extends 'set'
  ? SetOf
  : C['kind'] extends 'counter'
    ? CounterOf
    : C['kind'] extends 'map'
      ? MapOf<ValueOf<V, N>>
      : C extends { readonly list: string }
        ? (list: string) => ListOf<ListItem<C, V, N>>
        : ListOf<ListItem<C, V, N>>;

/** All collections of a shape, by their names. */
export type CollectionsOf<S extends SchemaShape, V> = {
  readonly [N in keyof S['collections']]: CollectionOf<S['collections'][N], V, N>;
};

/**
 * `collectionsOf(sync, schema).albums.add('a1')`. Values are not checked when they are read: their types are what the app says,
 * as `collectionsOf<typeof schema, { ratings: number }>(sync, schema)`.
 */
export function collectionsOf<S extends SchemaShape, V extends ValueTypes<S> = Record<never, never>>(
  sync: Changes,
  schema: S,
): CollectionsOf<S, V> {
  const all = Object.entries(schema.collections).map(([name, shape]) => [name, open(sync, name, shape)]);
  return Object.fromEntries(all) as CollectionsOf<S, V>;
}

function open(sync: Changes, name: string, { kind, list }: CollectionShape): unknown {
  switch (kind) {
    case 'set':
      return setOf(sync, name);
    case 'map':
      return mapOf(sync, name);
    case 'counter':
      return counterOf(sync, name);
    case 'list':
      return list === undefined ? listOf(sync, name) : (which: string) => listOf(sync, name, which);
  }
}
