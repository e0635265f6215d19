/** The view: the replica under the overlay, and what of it changed during one input (client SPEC, "Overlay"). */
import { encodeCanonical, sameBytes } from '../protocol/canonical.js';
import type { Schema } from '../protocol/schema.js';
import {
  targetOf,
  winnerAfter,
  type Judged,
  type Place,
  type StateEntry,
  type Target,
} from '../protocol/state.js';
import { compareUtf8, type Value } from '../protocol/value.js';
import type { Output } from './messages.js';
import type { Pending } from './outbox.js';
import type { Replica } from './replica.js';

type LiveValues = Map<string, Map<string, Value>>;

/** Shown intents by the entry that they are about, and the live values that result. */
export class View {
  readonly #overlay = new Map<string, Map<string, Pending[]>>();
  readonly #live: LiveValues = new Map();
  readonly #touched = new Map<string, Set<string>>();

  constructor(private readonly replica: Replica) {}

  /** The live values of a collection as of the last `settle`. */
  values(collection: string): ReadonlyMap<string, Value> {
    return this.#live.get(collection) ?? new Map<string, Value>();
  }

  /** Whether a shown intent on this entry waits for the broker. */
  isPending(collection: string, key: string): boolean {
    const over = this.#overlay.get(collection)?.get(key) ?? [];
    return over.some(({ standing }) => standing !== 'acked');
  }

  /** Names an entry whose live value may differ after this input. */
  touch({ collection, key }: Place): void {
    const keys = this.#touched.get(collection) ?? new Set();
    this.#touched.set(collection, keys.add(key));
  }

  /** Shows an intent, after those that are shown already. */
  show(pending: Pending): void {
    const target = this.#target(pending);
    if (target === undefined) return;
    this.#insert(target, pending);
    this.touch(target);
  }

  /** A shown intent has other fields now; what it is about stays. */
  refresh(pending: Pending): void {
    const target = this.#target(pending);
    if (target !== undefined) this.touch(target);
  }

  /** Shows an intent no more (OVERLAY-2). */
  hide(pending: Pending): void {
    pending.shown = false;
    const target = this.#target(pending);
    const keys = target && this.#overlay.get(target.collection);
    if (target === undefined || keys === undefined) return;
    const left = (keys.get(target.key) ?? []).filter((other) => other !== pending);
    if (left.length > 0) keys.set(target.key, left);
    else keys.delete(target.key);
    this.touch(target);
  }

  /** The replica or its schema was replaced: what intents are about is read anew, and every entry may differ. */
  reset(shown: Iterable<Pending>): void {
    this.#touchAll(this.#overlay);
    this.#overlay.clear();
    for (const pending of shown) if (pending.shown) this.show(pending);
    this.#touchAll(this.#live);
    for (const collection of this.replica.schema?.collections ?? []) {
      this.#touchKeys(collection, this.replica.state?.entries(collection).keys() ?? []);
    }
  }

  /** Brings the live values up to date and says which differ (OVERLAY-3), in the order of ORDER-2. */
  settle(): Output[] {
    const names = [...this.#touched.keys()].sort(compareUtf8);
    const changes = names.flatMap((collection) => this.#settleCollection(collection));
    this.#touched.clear();
    return changes;
  }

  #settleCollection(collection: string): Output[] {
    const touched = [...(this.#touched.get(collection) ?? [])];
    const keys = touched.filter((key) => this.#settleKey(collection, key)).sort(compareUtf8);
    return keys.length === 0 ? [] : [{ type: 'changed', collection, keys }];
  }

  /** True if the live value of the entry is another one now. */
  #settleKey(collection: string, key: string): boolean {
    const values = this.#live.get(collection) ?? new Map<string, Value>();
    this.#live.set(collection, values);
    const before = values.get(key);
    const after = this.#compute(collection, key);
    if (after === undefined) values.delete(key);
    else values.set(key, after);
    return !sameValue(before, after);
  }

  /** OVERLAY-1. */
  #compute(collection: string, key: string): Value | undefined {
    let winner: StateEntry | undefined = this.replica.state?.entry(collection, key);
    (this.#overlay.get(collection)?.get(key) ?? []).forEach((pending, place) => {
      const target = this.#target(pending);
      if (target !== undefined) winner = winnerAfter(winner, this.#judged(pending, place), target);
    });
    return winner?.value;
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

  #target({ intent }: Pending): Target | undefined {
    const schema: Schema | undefined = this.replica.schema;
    return schema && targetOf(schema, intent.eventType, intent.eventData);
  }

  #insert({ collection, key }: Place, pending: Pending): void {
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

function sameValue(a: Value | undefined, b: Value | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  return sameBytes(encodeCanonical(a), encodeCanonical(b));
}
