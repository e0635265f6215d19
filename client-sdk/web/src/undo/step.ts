/** One own change, what stood on its entry before and after, and its opposite (UNDO-1, UNDO-4). */
import type { CoreView } from '../driver.js';
import { isLive } from '../protocol/entry.js';
import type { Action, Operation } from '../protocol/schema.js';
import type { Value } from '../protocol/value.js';

/** All open acts of an entry, each by whose and when it is, which no other act of the stream shares. Empty: nothing. */
export type Standing = string;

/** What the app saw of a live entry. */
interface Before {
  readonly value: Value;
  /** Of a list's item: in which list, and behind what; null: at the beginning. */
  readonly place: { readonly list: string | null; readonly after: string | null } | undefined;
}

/** See above. */
export interface Step {
  readonly operation: Operation;
  /** Of its intent; undefined: that is not durable yet. */
  deviceSeq: number | undefined;
  /** What it left when it was made. */
  act: Standing;
  over: Standing;
  /** What stands as long as nobody else changes the entry: its own act, or one that took a later step back (UNDO-3). */
  after: Standing;
  readonly before: Before | undefined;
}

/** What stands on an entry, own changes included. */
export function standing(core: CoreView, { collection, key }: Operation): Standing {
  const entry = core.entries(collection).get(key);
  return entry === undefined ? '' : [entry.shown, ...entry.conflicts].map(actName).join();
}

/** Whose act, and when. */
export function actName({
  deviceUuid,
  timestamp,
  counter,
}: {
  readonly deviceUuid: string;
  readonly timestamp: number;
  readonly counter: number;
}): Standing {
  return `${deviceUuid} ${timestamp} ${counter}`;
}

/** Of a change that is about to be shown; what stands after it is filled in once it is. */
export function stepOver(core: CoreView, operation: Operation): Step {
  const over = standing(core, operation);
  return { operation, deviceSeq: undefined, act: over, over, after: over, before: beforeOf(core, operation) };
}

/** Whether two changes are of one entry. */
export function isSameEntry(a: Operation, b: Operation): boolean {
  return a.collection === b.collection && a.key === b.key;
}

/** UNDO-4. */
export function opposite({ operation: { action }, before }: Step): Action {
  if (action.type === 'count') return { type: 'count', amount: -action.amount };
  if (before === undefined) return { type: 'remove' };
  const { value, place } = before;
  return place === undefined ? { type: 'put', value } : { type: 'place', value, ...place };
}

function beforeOf(core: CoreView, { collection, key }: Operation): Before | undefined {
  const shown = core.entries(collection).get(key)?.shown;
  if (!isLive(shown)) return undefined;
  const { value, place } = shown;
  if (place === undefined) return { value, place };
  const items = core.list(collection, place.list);
  const at = items.findIndex((item) => item.key === key);
  return { value, place: { list: place.list, after: items[at - 1]?.key ?? null } };
}
