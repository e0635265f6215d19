/** What the leader's core shows, as its followers know it. */
import type { CoreView } from '../../driver.js';
import type { CoreStatus, PendingIntent } from '../../core/messages.js';
import { openActs } from '../../core/view.js';
import type { OpenAct, StateEntry } from '../../protocol/entry.js';
import { itemsOf, type Entries, type Item } from '../../protocol/list.js';
import { Schema } from '../../protocol/schema.js';
import type { Head, Patch, Whole } from './words.js';

/** See above. */
export class Mirror implements CoreView {
  readonly #collections = new Map<string, Map<string, StateEntry>>();
  #head: Head;
  #pending: readonly PendingIntent[] = [];
  /** Entries on which something waits, by collection. */
  #waiting: ReadonlySet<string> | undefined;
  readonly schema: Schema | undefined;
  inputs = 0;

  constructor({ head, schema, entries, pending }: Whole) {
    this.#head = head;
    this.schema = schema === undefined ? undefined : Schema.fromMap(schema);
    this.take(head, entries, pending);
  }

  get deviceUuid(): string {
    return this.#head.deviceUuid;
  }

  get seq(): number {
    return this.#head.seq;
  }

  get epoch(): string {
    return this.#head.epoch;
  }

  get status(): CoreStatus {
    return this.#head.status;
  }

  /** Whether the app wants to be online. */
  get online(): boolean {
    return this.#head.online;
  }

  /** Collections of which there are entries. */
  get collections(): string[] {
    return [...this.#collections.keys()];
  }

  take(head: Head, entries: readonly Patch[], pending: readonly PendingIntent[] | undefined): void {
    this.inputs += 1;
    this.#head = head;
    for (const [collection, patch] of entries) this.#patch(collection, patch);
    if (pending === undefined) return;
    this.#pending = pending;
    this.#waiting = undefined;
  }

  pending(): PendingIntent[] {
    return [...this.#pending];
  }

  entries(collection: string): Entries {
    return this.#of(collection);
  }

  list(collection: string, list: string | null): Item[] {
    return itemsOf(this.#of(collection), list);
  }

  openValues(collection: string, key: string): readonly OpenAct[] {
    const keepsBoth = this.schema?.collection(collection)?.conflict === 'keep_both';
    return openActs(this.#of(collection).get(key), keepsBoth);
  }

  isPending(collection: string, key: string): boolean {
    this.#waiting ??= new Set(this.#pending.flatMap((one) => this.#nameOfEntry(one)));
    return this.#waiting.has(nameOf(collection, key));
  }

  #nameOfEntry({ intent }: PendingIntent): string[] {
    const operation = this.schema?.operation(intent.eventType, intent.eventData);
    return operation === undefined || operation === 'bad_data'
      ? []
      : [nameOf(operation.collection, operation.key)];
  }

  #patch(collection: string, patch: Patch[1]): void {
    const entries = this.#of(collection);
    this.#collections.set(collection, entries);
    for (const [key, entry] of patch) {
      if (entry === undefined) entries.delete(key);
      else entries.set(key, entry);
    }
  }

  #of(collection: string): Map<string, StateEntry> {
    return this.#collections.get(collection) ?? new Map<string, StateEntry>();
  }
}

/** Names of collections have no space. */
function nameOf(collection: string, key: string): string {
  return `${collection} ${key}`;
}
