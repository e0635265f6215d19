/** Events as tests write them, and what they amount to. */
import { encodeCanonical } from '../src/protocol/canonical.js';
import { decodeEvent, type SyncEvent } from '../src/protocol/event.js';
import { uuidBytes } from '../src/protocol/ids.js';
import { Schema } from '../src/protocol/schema.js';
import { State } from '../src/protocol/state.js';
import type { Value, ValueMap } from '../src/protocol/value.js';

export const [ANN, BEN, CAT] = [1, 2, 3].map((n) => `00000000-0000-4000-8000-00000000000${n}`) as [
  string,
  string,
  string,
];

/** What of an event a test says: type, data, who, what its author had seen, and the clock if that matters. */
export interface Said {
  readonly type: string;
  readonly data: Value;
  readonly by: string;
  /** Default: everything before. */
  readonly base?: number;
  readonly clock?: number;
}

/** A schema of these collections. */
export function schemaOf(collections: ValueMap): Schema {
  return Schema.fromMap({ strict: false, collections });
}

/** One collection named `c`, whose events are `add` and `remove` under the key `k`. */
export function only(spec: ValueMap): Schema {
  const isCounter = spec['kind'] === 'counter';
  return schemaOf({ c: { key: 'k', add: 'add', ...(isCounter ? {} : { remove: 'remove' }), ...spec } });
}

export function eventAt(seq: number, { type, data, by, base, clock }: Said): SyncEvent {
  return decodeEvent(
    encodeCanonical({
      sync_id: 'home',
      channel: null,
      epoch: '00000000000000aa',
      seq,
      accepted_at: seq,
      event_type: type,
      event_data: data,
      device_uuid: uuidBytes(by),
      timestamp: clock ?? seq,
      counter: 0,
      base_seq: base ?? seq - 1,
    }),
  );
}

/** The state after these events, at seqs 1, 2, 3 … */
export function stateAfter(schema: Schema, said: readonly Said[]): State {
  const state = new State(schema);
  said.forEach((one, i) => state.apply(eventAt(i + 1, one)));
  return state;
}
