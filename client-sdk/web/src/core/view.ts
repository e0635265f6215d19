/** The view: the replica under the overlay, and what of it changed during one input (client SPEC, "Overlay"). */
import { encodeCanonical, sameBytes } from '../protocol/canonical.js';
import { isLive, type Judged, type OpenAct, type StateEntry } from '../protocol/entry.js';
import { itemsOf, type Entries, type Item } from '../protocol/list.js';
import { entryAfter } from '../protocol/merge.js';
import type { CollectionSchema, Operation } from '../protocol/schema.js';
import type { Target } from '../protocol/state.js';
import { compareUtf8, type Value } from '../protocol/value.js';
import type { Output } from './messages.js';
import type { Pending } from './outbox.js';
import type { Replica } from './replica.js';

/** Shown intents by the entry that they are about, and the entries that result. */
export class View {
  readonly #overlay = new Map<string, Map<string, Pending[]>>();
  readonly #entries = new Map<string, Map<string, StateEntry>>();
  readonly #touched = new Map<string, Set<string>>();

  constructor(private readonly replica: Replica) {}

  /** The entries of a collection as of the last `settle`, removed ones included. */
  entries(collection: string): Entries {
    return this.#entries.get(collection) ?? new Map<string, StateEntry>();
  }

  /** The live values of a collection as of the last `settle`. */
  values(collection: string): ReadonlyMap<string, Value> {
    const values = new Map<string, Value>();
    for (const [key, { shown }] of this.entries(collection)) if (isLive(shown)) values.set(key, shown.value);
    return values;
  }

  /** The items of one list in their order as of the last `settle`. */
  list(collection: string, list: string | null): Item[] {
    return itemsOf(this.entries(collection), list);
  }

  /** The open acts of an entry that is in open conflict, the shown one first; else none (OVERLAY-5). */
  openValues(collection: string, key: string): readonly OpenAct[] {
    return openActs(this.entries(collection).get(key), this.#keepsBoth(collection));
  }

  /** The shown intents on an entry, in order. */
  over(collection: string, key: string): readonly Pending[] {
    return this.#overlay.get(collection)?.get(key) ?? [];
  }

  /** Whether a later event on an entry of this collection leaves nothing of those that its author saw (OUTBOX-10). */
  isSuperseding(collection: string): boolean {
    const { kind, conflict } = this.#schemaOf(collection) ?? {};
    return conflict === 'last_write_wins' && (kind === 'set' || kind === 'map');
  }

  /** What an intent does; undefined: nothing that is shown. */
  operation(eventType: string, eventData: Value): Operation | undefined {
    const operation = this.replica.schema?.operation(eventType, eventData);
    return operation === 'bad_data' ? undefined : operation;
  }

  /** What an intent does, by the schema at hand. */
  operationOf({ intent }: Pending): Operation | undefined {
    return this.operation(intent.eventType, intent.eventData);
  }

  /** Whether a shown intent on this entry waits for the broker. */
  isPending(collection: string, key: string): boolean {
    return this.over(collection, key).some(({ standing }) => standing !== 'acked');
  }

  /** Names an entry that may differ after this input. */
  touch({ collection, key }: Target): void {
    const keys = this.#touched.get(collection) ?? new Set();
    this.#touched.set(collection, keys.add(key));
  }

  /** Shows an intent, after those that are shown already. */
  show(pending: Pending): void {
    const operation = this.operationOf(pending);
    if (operation === undefined) return;
    this.#insert(operation, pending);
    this.touch(operation);
  }

  /** A shown intent has other fields or another place now; what it is about stays. */
  refresh(pending: Pending): void {
    const operation = this.operationOf(pending);
    if (operation !== undefined) this.touch(operation);
  }

  /** Shows an intent no more (OVERLAY-2). */
  hide(pending: Pending): void {
    pending.shown = false;
    const operation = this.operationOf(pending);
    const keys = operation && this.#overlay.get(operation.collection);
    if (operation === undefined || keys === undefined) return;
    const left = (keys.get(operation.key) ?? []).filter((other) => other !== pending);
    if (left.length > 0) keys.set(operation.key, left);
    else keys.delete(operation.key);
    this.touch(operation);
  }

  /** The replica or its schema was replaced: what intents are about is read anew, and every entry may differ. */
  reset(shown: Iterable<Pending>): void {
    this.#touchAll(this.#overlay);
    this.#overlay.clear();
    for (const pending of shown) if (pending.shown) this.show(pending);
    this.#touchAll(this.#entries);
    for (const collection of this.replica.schema?.collections ?? []) {
      this.#touchKeys(collection, this.replica.state?.entries(collection).keys() ?? []);
    }
  }

  /** Brings the entries up to date and says which differ (OVERLAY-3), in the order of ORDER-2. */
  settle(): Output[] {
    const names = [...this.#touched.keys()].sort(compareUtf8);
    const changes = names.flatMap((collection) => this.#settleCollection(collection));
    this.#touched.clear();
    return changes;
  }

  #settleCollection(collection: string): Output[] {
    const entries = this.#entries.get(collection) ?? new Map<string, StateEntry>();
    this.#entries.set(collection, entries);
    const keys: string[] = [];
    const keepsBoth = this.#keepsBoth(collection);
    for (const [key, entry] of this.#compute(collection)) {
      if (!looksTheSame(entries.get(key), entry, keepsBoth)) keys.push(key);
      if (entry === undefined) entries.delete(key);
      else entries.set(key, entry);
    }
    return keys.length === 0 ? [] : [{ type: 'changed', collection, keys: keys.sort(compareUtf8) }];
  }

  /** The entries that may differ, as they are now. */
  #compute(collection: string): (readonly [string, StateEntry | undefined])[] {
    const overlay = this.#overlay.get(collection) ?? new Map<string, Pending[]>();
    const keys = new Set(this.#touched.get(collection));
    // Where an item of a list stands depends on the others.
    if (this.#schemaOf(collection)?.kind === 'list') addAll(keys, overlay.keys());
    const intents = [...keys].flatMap((key) => overlay.get(key) ?? []);
    const entries = this.#over(
      collection,
      intents.sort((a, b) => a.order - b.order),
    );
    return [...keys].map((key) => [key, entries.get(key)]);
  }

  /** OVERLAY-1: the replica's entries with these intents applied in order. */
  #over(collection: string, intents: readonly Pending[]): Entries {
    const layer = new Layer(this.replica.state?.entries(collection) ?? new Map<string, StateEntry>());
    const schema = this.#schemaOf(collection);
    intents.forEach((pending, place) => {
      const operation = this.operationOf(pending);
      if (schema === undefined || operation === undefined) return;
      const entry = entryAfter(schema, layer, this.#judged(pending, place), operation);
      if (entry !== undefined) layer.set(operation.key, entry);
    });
    return layer;
  }

  /** An intent as the event that it would become. */
  #judged({ intent }: Pending, place: number): Judged {
    return {
      seq: this.replica.seq + 1 + place,
      baseSeq: intent.epoch === this.replica.epoch ? intent.baseSeq : 0,
      deviceUuid: intent.deviceUuid,
      ...intent.clock,
    };
  }

  #schemaOf(collection: string): CollectionSchema | undefined {
    return this.replica.schema?.collection(collection);
  }

  #keepsBoth(collection: string): boolean {
    return this.#schemaOf(collection)?.conflict === 'keep_both';
  }

  #insert({ collection, key }: Target, pending: Pending): void {
    const keys = this.#overlay.get(collection) ?? new Map<string, Pending[]>();
    this.#overlay.set(collection, keys);
    keys.set(key, [...(keys.get(key) ?? []), pending]);
  }

  #touchAll(collections: ReadonlyMap<string, ReadonlyMap<string, unknown>>): void {
    for (const [collection, keys] of collections) this.#touchKeys(collection, keys.keys());
  }

  #touchKeys(collection: string, keys: Iterable<string>): void {
    for (const key of keys) this.touch({ collection, key });
  }
}

/** Entries above others, which stay as they are. */
class Layer implements Entries {
  readonly #own = new Map<string, StateEntry>();

  constructor(private readonly base: Entries) {}

  get(key: string): StateEntry | undefined {
    return this.#own.get(key) ?? this.base.get(key);
  }

  set(key: string, entry: StateEntry): void {
    this.#own.set(key, entry);
  }

  *[Symbol.iterator](): Iterator<[string, StateEntry]> {
    for (const pair of this.base) if (!this.#own.has(pair[0])) yield pair;
    yield* this.#own;
  }
}

function addAll<T>(into: Set<T>, from: Iterable<T>): void {
  for (const one of from) into.add(one);
}

/** OVERLAY-5. */
export function openActs(entry: StateEntry | undefined, keepsBoth: boolean): readonly OpenAct[] {
  if (entry === undefined || !keepsBoth || entry.conflicts.length === 0) return [];
  return [entry.shown, ...entry.conflicts];
}

/** Whether an app sees no difference (OVERLAY-3). */
function looksTheSame(a: StateEntry | undefined, b: StateEntry | undefined, keepsBoth: boolean): boolean {
  if (a === b) return true;
  // At the start all entries are new.
  if (a === undefined || b === undefined) return showsNothing(a ?? b, keepsBoth);
  return sameBytes(encodeCanonical(look(a, keepsBoth)), encodeCanonical(look(b, keepsBoth)));
}

function showsNothing(entry: StateEntry | undefined, keepsBoth: boolean): boolean {
  return !isLive(entry?.shown) && openActs(entry, keepsBoth).length === 0;
}

/** What of an entry an app sees: live value, place in a list, open values. */
function look(entry: StateEntry | undefined, keepsBoth: boolean): Value {
  const shown = isLive(entry?.shown) ? lookOfAct(entry.shown) : null;
  const open = openActs(entry, keepsBoth);
  const authors = open.map(({ deviceUuid, timestamp, counter }) => [deviceUuid, timestamp, counter]);
  return [shown, open.map(lookOfAct), authors];
}

function lookOfAct({ value, place }: OpenAct): Value {
  return [value === undefined ? [] : [value], place === undefined ? [] : [place.list, place.position]];
}
