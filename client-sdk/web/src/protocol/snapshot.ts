/** Snapshots: a state, or the entries of it that changed, as one message (SPEC "Snapshots"). */
import { decodeMap, encodeCanonical, sameBytes } from './canonical.js';
import { entryMap, readEntry, type StateEntry } from './entry.js';
import { hex, integer, integerOrNull, map, MalformedError, text, textOrNull } from './fields.js';
import type { StreamId } from './ids.js';
import type { Schema } from './schema.js';
import { State } from './state.js';
import { DEPTH_MAX, type ValueMap } from './value.js';

/** A decoded `state` message. */
export interface Snapshot {
  readonly syncId: string;
  readonly channel: string | null;
  readonly epoch: string;
  readonly seq: number;
  /** 0: full, replaces; else a delta, overwrites entry by entry. */
  readonly since: number;
  readonly head: number;
  readonly digest: string;
  readonly digests: Readonly<Record<string, string>>;
  /** The schema's hash. */
  readonly schema: string;
  readonly part: number;
  readonly parts: number;
  readonly collections: ReadonlyMap<string, ReadonlyMap<string, StateEntry>>;
  /** This connection's device; null: none; undefined: this message does not say. */
  readonly mark: number | null | undefined;
}

/** A value lies below the message, its collections, a collection, an entry, its conflicts and one of them. */
const SNAPSHOT_DEPTH_MAX = DEPTH_MAX + 6;

/** Reads a `state` message. Throws `BadValueError` or `MalformedError`. */
export function decodeSnapshot(payload: Uint8Array): Snapshot {
  const message = decodeMap(payload, SNAPSHOT_DEPTH_MAX);
  const digests = map(message, 'digests');
  return {
    syncId: text(message, 'sync_id'),
    channel: textOrNull(message, 'channel'),
    epoch: hex(message, 'epoch', 16),
    seq: integer(message, 'seq'),
    since: integer(message, 'since'),
    head: integer(message, 'head'),
    digest: hex(message, 'digest', 32),
    digests: Object.fromEntries(Object.keys(digests).map((name) => [name, hex(digests, name, 32)])),
    schema: hex(message, 'schema', 64),
    part: integer(message, 'part', 1),
    parts: integer(message, 'parts', 1),
    collections: readCollections(map(message, 'collections')),
    mark: 'mark' in message ? integerOrNull(message, 'mark', 1) : undefined,
  };
}

/** The canonical MessagePack of a `state` message. */
export function encodeSnapshot(snapshot: Snapshot): Uint8Array {
  return encodeCanonical({
    ...headOf(snapshot),
    part: snapshot.part,
    collections: writeCollections(snapshot.collections),
  });
}

/** The full snapshot of a state: what a device stores as its replica. */
export function snapshotOf(stream: StreamId, state: State): Snapshot {
  return {
    ...stream,
    epoch: state.epoch,
    seq: state.seq,
    since: 0,
    head: state.seq,
    digest: state.digest(),
    digests: state.digests(),
    schema: state.schema.hash,
    part: 1,
    parts: 1,
    collections: new Map(state.schema.collections.map((name) => [name, state.entries(name)])),
    mark: undefined,
  };
}

/** A state made of a full snapshot alone. */
export function stateOf(schema: Schema, snapshot: Snapshot): State {
  const state = new State(schema);
  applySnapshot(state, snapshot);
  return state;
}

/** Overwrites entry by entry and moves to the snapshot's place. */
export function applySnapshot(state: State, snapshot: Snapshot): void {
  for (const [collection, entries] of snapshot.collections) {
    for (const [key, entry] of entries) state.put(collection, key, entry);
  }
  state.at(snapshot.epoch, snapshot.seq);
}

/** Puts the parts of one message together (SNAP-8). */
export class Assembler {
  #parts: readonly Snapshot[] = [];

  /** Takes the next part; gives the whole message with the last one. Throws `MalformedError`. */
  push(part: Snapshot): Snapshot | undefined {
    const before = part.part === 1 ? [] : this.#parts;
    this.#parts = [];
    if (part.part !== before.length + 1 || part.part > part.parts)
      throw new MalformedError(`part ${part.part} of ${part.parts} after ${before.length}`);
    if (before[0] !== undefined && !sameHead(before[0], part))
      throw new MalformedError(`part ${part.part} is not of the message that part 1 began`);
    const parts = [...before, part];
    if (part.part === part.parts) return whole(part, parts);
    this.#parts = parts;
    return undefined;
  }

  /** Forgets an unfinished message. */
  clear(): void {
    this.#parts = [];
  }
}

function sameHead(a: Snapshot, b: Snapshot): boolean {
  return sameBytes(encodeCanonical(headOf(a)), encodeCanonical(headOf(b)));
}

function whole(last: Snapshot, parts: readonly Snapshot[]): Snapshot {
  const collections = new Map<string, Map<string, StateEntry>>();
  for (const [name, entries] of parts.flatMap((part) => [...part.collections])) {
    const into = collections.get(name) ?? new Map<string, StateEntry>();
    collections.set(name, into);
    for (const [key, entry] of entries) {
      if (into.has(key)) throw new MalformedError(`${name} has ${key} in two parts`);
      into.set(key, entry);
    }
  }
  return { ...last, part: 1, parts: 1, collections };
}

/** All names but `part` and `collections`. */
function headOf(snapshot: Snapshot): ValueMap {
  return {
    sync_id: snapshot.syncId,
    channel: snapshot.channel,
    epoch: snapshot.epoch,
    seq: snapshot.seq,
    since: snapshot.since,
    head: snapshot.head,
    digest: snapshot.digest,
    digests: snapshot.digests,
    schema: snapshot.schema,
    parts: snapshot.parts,
    ...(snapshot.mark === undefined ? {} : { mark: snapshot.mark }),
  };
}

function readCollections(collections: ValueMap): Map<string, Map<string, StateEntry>> {
  const names = Object.keys(collections);
  return new Map(names.map((name) => [name, readEntries(map(collections, name))]));
}

function readEntries(entries: ValueMap): Map<string, StateEntry> {
  return new Map(Object.keys(entries).map((key) => [key, readEntry(map(entries, key))]));
}

function writeCollections(collections: Snapshot['collections']): ValueMap {
  return Object.fromEntries([...collections].map(([name, entries]) => [name, writeEntries(entries)]));
}

function writeEntries(entries: ReadonlyMap<string, StateEntry>): ValueMap {
  return Object.fromEntries([...entries].map(([key, entry]) => [key, entryMap(entry)]));
}
