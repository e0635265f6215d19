/** Entries and their open acts (STATE-2, STATE-3). */
import { compareClocks } from './clock.js';
import type { SyncEvent } from './event.js';
import { array, boolean, bytes, integer, MalformedError, text } from './fields.js';
import { uuidBytes, uuidText } from './ids.js';
import { isMap, type Value, type ValueMap } from './value.js';

/** What an event said, and what later events are judged against. */
export interface OpenAct {
  /** undefined: removed. */
  readonly value: Value | undefined;
  readonly seq: number;
  readonly deviceUuid: string;
  readonly timestamp: number;
  readonly counter: number;
  /** Only in a list (LIST-1). */
  readonly place?: Place;
}

/** Where an item stands: in which list (null: the collection has only one), and at what position there. */
export interface Place {
  readonly list: string | null;
  readonly position: readonly number[];
}

/** What stands for a key. */
export interface StateEntry {
  /** Its names stand in the entry itself. */
  readonly shown: OpenAct;
  /** The other open acts, highest first. */
  readonly conflicts: readonly OpenAct[];
  /** The seq of the last event that changed this entry. */
  readonly changed: number;
}

/** What an event is judged by: a delivered one, or an intent with the seq that it would get. */
export type Judged = Pick<SyncEvent, 'seq' | 'baseSeq' | 'deviceUuid' | 'timestamp' | 'counter'>;

/** How many integers a position has at most (LIST-1). */
export const POSITION_LENGTH_MAX = 32;

/** Whether an entry or an act is live. */
export function isLive(act: OpenAct | undefined): act is OpenAct & { readonly value: Value } {
  return act?.value !== undefined;
}

/** STATE-2. */
export function saw(event: Judged, act: OpenAct): boolean {
  return act.seq <= event.baseSeq || (act.deviceUuid === event.deviceUuid && act.seq < event.seq);
}

/** Positive: `a` is the higher. `device_uuid` compares by its bytes, which is the order of its text. */
export function compareActs(a: OpenAct, b: OpenAct): number {
  const clocks = compareClocks(a, b);
  if (clocks !== 0) return clocks;
  if (a.deviceUuid !== b.deviceUuid) return a.deviceUuid > b.deviceUuid ? 1 : -1;
  return a.seq - b.seq;
}

/** The entry as the map of STATE-3, for the wire and for digests. */
export function entryMap({ shown, conflicts, changed }: StateEntry): ValueMap {
  return {
    ...actMap(shown),
    conflicts: conflicts.map(actMap),
    ...(changed === shown.seq ? {} : { changed }),
  };
}

/** Reads the map of STATE-3. Throws `MalformedError`. */
export function readEntry(entry: ValueMap): StateEntry {
  const shown = readAct(entry);
  return {
    shown,
    conflicts: array(entry, 'conflicts').map(readConflict),
    changed: 'changed' in entry ? integer(entry, 'changed', 1) : shown.seq,
  };
}

function actMap({ value, seq, deviceUuid, timestamp, counter, place }: OpenAct): ValueMap {
  return {
    ...(value === undefined ? { removed: true } : { value }),
    seq,
    device_uuid: uuidBytes(deviceUuid),
    timestamp,
    counter,
    ...(place === undefined ? {} : { position: place.position }),
    ...(place === undefined || place.list === null ? {} : { list: place.list }),
  };
}

function readConflict(act: Value): OpenAct {
  return isMap(act) ? readAct(act) : wrong('conflicts holds what is not a map');
}

function readAct(act: ValueMap): OpenAct {
  return {
    value: readValue(act),
    seq: integer(act, 'seq', 1),
    deviceUuid: uuidText(bytes(act, 'device_uuid', 16)),
    timestamp: integer(act, 'timestamp'),
    counter: integer(act, 'counter'),
    ...('position' in act ? { place: readPlace(act) } : {}),
  };
}

function readValue(act: ValueMap): Value | undefined {
  if (!('removed' in act)) return act['value'] ?? null;
  return boolean(act, 'removed') ? undefined : wrong('removed is not true');
}

function readPlace(act: ValueMap): Place {
  const position = array(act, 'position');
  const isSound = position.every(Number.isSafeInteger);
  if (!isSound || position.length < 1 || position.length > POSITION_LENGTH_MAX)
    return wrong(`position is not 1 to ${POSITION_LENGTH_MAX} integers`);
  return { position: position as readonly number[], list: 'list' in act ? text(act, 'list') : null };
}

function wrong(sentence: string): never {
  throw new MalformedError(sentence);
}
