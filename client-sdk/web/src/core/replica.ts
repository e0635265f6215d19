/** The replica: the confirmed state up to the cursor (client SPEC, "Replica"). */
import type { StateEntry } from '../protocol/entry.js';
import type { SyncEvent } from '../protocol/event.js';
import { EPOCH_NONE, type StreamId } from '../protocol/ids.js';
import { Schema } from '../protocol/schema.js';
import {
  applySnapshot,
  decodeSnapshot,
  encodeSnapshot,
  snapshotOf,
  type Snapshot,
} from '../protocol/snapshot.js';
import { State, type Target } from '../protocol/state.js';
import type { ValueMap } from '../protocol/value.js';

/** What became of a `state` message: taken, older than what is here, or not usable (REPLICA-1, REPLICA-2). */
export type Taken = 'taken' | 'stale' | 'delta' | 'digest';

/** What became of an event (REPLICA-3, REPLICA-4). */
export type Applied = { readonly target: Target | undefined } | 'known' | 'gap';

/** Schema and state; neither is there before the broker gave a schema. */
export class Replica {
  #schema: Schema | undefined;
  #state: State | undefined;
  #isThere = false;

  constructor(private readonly stream: StreamId) {}

  /** Takes back what was stored. False: it is not usable, and nothing of the replica was taken (OPEN-2). */
  restore(schema: ValueMap | undefined, replica: Uint8Array | undefined): boolean {
    try {
      if (schema !== undefined) this.adopt(Schema.fromMap(schema));
      return replica === undefined || this.#restoreState(decodeSnapshot(replica));
    } catch {
      return false;
    }
  }

  #restoreState(snapshot: Snapshot): boolean {
    const { syncId, channel } = this.stream;
    if (snapshot.syncId !== syncId || snapshot.channel !== channel) return false;
    if (snapshot.schema !== this.#schema?.hash || snapshot.since !== 0) return false;
    return this.take(snapshot) === 'taken';
  }

  get schema(): Schema | undefined {
    return this.#schema;
  }

  get state(): State | undefined {
    return this.#state;
  }

  /** Whether the state is one that the broker gave, and not only the empty one to start with. */
  get isThere(): boolean {
    return this.#isThere;
  }

  get seq(): number {
    return this.#state?.seq ?? 0;
  }

  get epoch(): string {
    return this.#state?.epoch ?? EPOCH_NONE;
  }

  /** What is confirmed of one entry. */
  entry({ collection, key }: Target): StateEntry | undefined {
    return this.#state?.entry(collection, key);
  }

  /** Starts over under a schema (SCHEMA-11). */
  adopt(schema: Schema): void {
    this.#schema = schema;
    this.#state = new State(schema);
    this.#isThere = false;
  }

  /** Takes a `state` message made under this schema: whole or not at all. */
  take(snapshot: Snapshot): Taken {
    const state = this.#state;
    if (state === undefined) return 'delta';
    const sameEpoch = snapshot.epoch === state.epoch;
    if (sameEpoch && snapshot.seq < state.seq) return 'stale';
    if (snapshot.since > 0 && (!sameEpoch || snapshot.since > state.seq)) return 'delta';
    const next = snapshot.since > 0 ? state.clone() : new State(state.schema);
    applySnapshot(next, snapshot);
    if (next.digest() !== snapshot.digest) return 'digest';
    this.#state = next;
    this.#isThere = true;
    return 'taken';
  }

  /** Applies the next event of this history. */
  apply(event: SyncEvent): Applied {
    const state = this.#state;
    if (state === undefined) return 'gap';
    const sameEpoch = event.epoch === state.epoch || state.seq === 0;
    if (!sameEpoch) return 'gap';
    if (event.seq <= state.seq) return 'known';
    return event.seq === state.seq + 1 ? { target: state.apply(event) } : 'gap';
  }

  /** The row that is stored (STORE-1); undefined before the broker gave a state. */
  row(): Uint8Array | undefined {
    if (this.#state === undefined || !this.#isThere) return undefined;
    return encodeSnapshot(snapshotOf(this.stream, this.#state));
  }
}
