/** State: what events up to a seq amount to (SPEC "State"). */
import { digestText, DigestSum, entryDigest } from './digest.js';
import { entryMap, isLive, type StateEntry } from './entry.js';
import type { SyncEvent } from './event.js';
import { EPOCH_NONE } from './ids.js';
import { itemsOf, type Item } from './list.js';
import { entryAfter } from './merge.js';
import type { Schema } from './schema.js';

/** Where an event or a snapshot changed something. */
export interface Target {
  readonly collection: string;
  readonly key: string;
}

interface Collection {
  readonly entries: Map<string, StateEntry>;
  readonly digest: DigestSum;
}

/** The collections of one stream at one seq. Events are applied in seq order (STATE-1). */
export class State {
  readonly #collections = new Map<string, Collection>();
  #epoch = EPOCH_NONE;
  #seq = 0;

  constructor(readonly schema: Schema) {
    for (const name of schema.collections) {
      this.#collections.set(name, { entries: new Map(), digest: new DigestSum() });
    }
  }

  get epoch(): string {
    return this.#epoch;
  }

  get seq(): number {
    return this.#seq;
  }

  /** Applies the next event; says what it changed, undefined if nothing. */
  apply(event: SyncEvent): Target | undefined {
    this.at(event.epoch, event.seq);
    const operation = this.schema.operation(event.eventType, event.eventData);
    if (operation === undefined || operation === 'bad_data') return undefined;
    const { collection, key } = operation;
    const schema = this.schema.collection(collection);
    const next = schema && entryAfter(schema, this.entries(collection), event, operation);
    if (next === undefined) return undefined;
    this.put(collection, key, next);
    return { collection, key };
  }

  /** Moves to a place in a history without an event: what a snapshot does last. */
  at(epoch: string, seq: number): void {
    this.#epoch = epoch;
    this.#seq = seq;
  }

  /** Sets an entry as a snapshot gives it. Collections that the schema does not name are left out. */
  put(collection: string, key: string, entry: StateEntry): void {
    const into = this.#collections.get(collection);
    if (into === undefined) return;
    const old = into.entries.get(key);
    if (old !== undefined && isLive(old.shown)) into.digest.remove(digestOf(collection, key, old));
    if (isLive(entry.shown)) into.digest.add(digestOf(collection, key, entry));
    into.entries.set(key, entry);
  }

  /** A copy that changes by itself; entries are shared because they never change. */
  clone(): State {
    const copy = new State(this.schema);
    for (const [name, { entries, digest }] of this.#collections) {
      copy.#collections.set(name, { entries: new Map(entries), digest: digest.clone() });
    }
    copy.at(this.#epoch, this.#seq);
    return copy;
  }

  entry(collection: string, key: string): StateEntry | undefined {
    return this.#collections.get(collection)?.entries.get(key);
  }

  /** All entries of a collection, removed ones included, in no order. */
  entries(collection: string): ReadonlyMap<string, StateEntry> {
    return this.#collections.get(collection)?.entries ?? new Map<string, StateEntry>();
  }

  /** The live items of one list in their order (LIST-1); null: of a collection that has only one. */
  list(collection: string, list: string | null): Item[] {
    return itemsOf(this.entries(collection), list);
  }

  /** Of the whole state, 32 hex digits (DIGEST-2). */
  digest(): string {
    return digestText([...this.#collections.values()].reduce((sum, { digest }) => sum + digest.value, 0n));
  }

  /** Per collection (DIGEST-2). */
  digests(): Record<string, string> {
    return Object.fromEntries(
      [...this.#collections].map(([name, { digest }]) => [name, digestText(digest.value)]),
    );
  }
}

function digestOf(collection: string, key: string, entry: StateEntry): bigint {
  return entryDigest(collection, key, entryMap(entry));
}
