/** State: what events up to a seq amount to (SPEC "State"). */
import { compareClocks } from './clock.js';
import { digestText, DigestSum, entryDigest } from './digest.js';
import type { SyncEvent } from './event.js';
import { EPOCH_NONE, uuidBytes } from './ids.js';
import type { Operation, Schema } from './schema.js';
import { isMap, isReservedKey, type Value, type ValueMap } from './value.js';

/** What a winner said, and what later events are judged against (STATE-3). */
export interface StateEntry {
  /** undefined: removed. */
  readonly value: Value | undefined;
  readonly seq: number;
  readonly deviceUuid: string;
  readonly timestamp: number;
  readonly counter: number;
  readonly conflicts: readonly Value[];
}

/** Where an event or a snapshot changed something. */
export interface Place {
  readonly collection: string;
  readonly key: string;
}

interface Collection {
  readonly entries: Map<string, StateEntry>;
  readonly digest: DigestSum;
}

/** The entry as the map of STATE-3, for the wire and for digests. */
export function entryMap(entry: StateEntry): ValueMap {
  return {
    ...(entry.value === undefined ? { removed: true } : { value: entry.value }),
    seq: entry.seq,
    device_uuid: uuidBytes(entry.deviceUuid),
    timestamp: entry.timestamp,
    counter: entry.counter,
    conflicts: entry.conflicts,
  };
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
  apply(event: SyncEvent): Place | undefined {
    this.at(event.epoch, event.seq);
    const target = targetOf(this.schema, event.eventType, event.eventData);
    if (target === undefined) return undefined;
    const winner = this.entry(target.collection, target.key);
    const next = winnerAfter(winner, event, target);
    if (next === winner) return undefined;
    this.put(target.collection, target.key, next);
    return target;
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
    if (old?.value !== undefined) into.digest.remove(entryDigest(collection, key, entryMap(old)));
    if (entry.value !== undefined) into.digest.add(entryDigest(collection, key, entryMap(entry)));
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

/** Which entry an event is about, and what it does there (STATE-5). */
export interface Target extends Place {
  readonly action: Operation['action'];
}

/** What an event is judged by (STATE-4): a delivered one, or an intent with the seq that it would get. */
export type Judged = Pick<SyncEvent, 'seq' | 'baseSeq' | 'deviceUuid' | 'timestamp' | 'counter'>;

/** The entry that an event is about; undefined: it touches no state. */
export function targetOf(schema: Schema, eventType: string, eventData: Value): Target | undefined {
  const operation = schema.operation(eventType);
  const key = operation !== undefined && isMap(eventData) ? eventData[operation.key] : undefined;
  if (operation === undefined || typeof key !== 'string' || isReservedKey(key)) return undefined;
  return { collection: operation.collection, key, action: operation.action };
}

/** Who wins an entry once `event` is applied: the winner so far, or the event (STATE-4). */
export function winnerAfter(winner: StateEntry | undefined, event: Judged, target: Target): StateEntry {
  if (winner !== undefined && !saw(event, winner) && !outranks(event, winner)) return winner;
  return {
    value: target.action === 'add' ? true : undefined,
    seq: event.seq,
    deviceUuid: event.deviceUuid,
    timestamp: event.timestamp,
    counter: event.counter,
    conflicts: [],
  };
}

/** STATE-2. */
function saw(event: Judged, winner: StateEntry): boolean {
  if (winner.seq <= event.baseSeq) return true;
  return winner.deviceUuid === event.deviceUuid && winner.seq < event.seq;
}

/** Among concurrent events; `device_uuid` compares by its bytes, which is the order of its text. */
function outranks(event: Judged, winner: StateEntry): boolean {
  const clocks = compareClocks(event, winner);
  if (clocks !== 0) return clocks > 0;
  if (event.deviceUuid !== winner.deviceUuid) return event.deviceUuid > winner.deviceUuid;
  return event.seq > winner.seq;
}
