/** Places in lists (LIST-1 … LIST-5). */
import { isLive, POSITION_LENGTH_MAX, saw, type Judged, type Place, type StateEntry } from './entry.js';
import type { Action } from './schema.js';
import { compareUtf8, type Value } from './value.js';

type Position = readonly number[];

/** The entries of one collection, by key: a map, or what reads like one. */
export interface Entries {
  get(key: string): StateEntry | undefined;
  [Symbol.iterator](): Iterator<[string, StateEntry]>;
}

/** An item of a list. */
export interface Item {
  readonly key: string;
  readonly value: Value;
}

/** The live items of one list (null: the only one of the collection) in their order (LIST-1). */
export function itemsOf(entries: Entries, list: string | null): Item[] {
  const placed: (Item & Place)[] = [];
  for (const [key, { shown }] of entries) {
    if (isLive(shown) && shown.place?.list === list) placed.push({ key, value: shown.value, ...shown.place });
  }
  placed.sort((a, b) => comparePositions(a.position, b.position) || compareUtf8(a.key, b.key));
  return placed.map(({ key, value }) => ({ key, value }));
}

/** Where an add puts the item `key` (LIST-3). */
export function placeAfter(
  entries: Entries,
  key: string,
  { list, after }: Extract<Action, { type: 'place' }>,
  event: Judged,
): Place {
  const others = positionsIn(entries, list, key);
  const neighbour = typeof after === 'string' && after !== key ? entries.get(after) : undefined;
  const below = after === null ? undefined : (standing(neighbour, list, event) ?? highest(others));
  return { list, position: between(below, lowestAbove(others, below)) };
}

/** What a removal keeps of the place of the act that was shown (LIST-4). */
export function placeKept(entry: StateEntry | undefined, event: Judged): Place | undefined {
  const shown = entry?.shown;
  return shown === undefined || (!isLive(shown) && saw(event, shown)) ? undefined : shown.place;
}

/** Element by element; a beginning of another is the lower. */
export function comparePositions(a: Position, b: Position): number {
  for (const [i, element] of a.entries()) {
    const other = b[i];
    if (other === undefined) return 1;
    if (element !== other) return element - other;
  }
  return a.length - b.length;
}

/** The position between two, of which either may be missing (LIST-5). Where there is no room, a place is taken twice. */
export function between(below: Position | undefined, above: Position | undefined): Position {
  if (below === undefined && above === undefined) return [0];
  const middle = split(below, above);
  const fits = middle.length <= POSITION_LENGTH_MAX && middle.every(Number.isSafeInteger);
  return fits ? middle : (below ?? above ?? middle);
}

function split(below: Position | undefined, above: Position | undefined): Position {
  if (below === undefined) return [at(above, 0) - 1];
  if (above === undefined) return [at(below, 0) + 1];
  const differing = below.findIndex((element, i) => element !== above[i]);
  if (differing < 0) return [...below, at(above, below.length) - 1];
  const lower = at(below, differing);
  if (at(above, differing) - lower >= 2) return [...below.slice(0, differing), lower + 1];
  const next = below[differing + 1];
  return [...below.slice(0, differing + 1), next === undefined ? 0 : next + 1];
}

/** A neighbour's position, if one can stand behind it: one that is removed still marks its place for who missed that. */
function standing(entry: StateEntry | undefined, list: string | null, event: Judged): Position | undefined {
  const shown = entry?.shown;
  if (shown === undefined || shown.place?.list !== list) return undefined;
  return isLive(shown) || !saw(event, shown) ? shown.place.position : undefined;
}

/** Of the live items of a list other than `key`. */
function positionsIn(entries: Entries, list: string | null, key: string): Position[] {
  const positions: Position[] = [];
  for (const [other, { shown }] of entries) {
    if (other !== key && isLive(shown) && shown.place?.list === list) positions.push(shown.place.position);
  }
  return positions;
}

function highest(positions: readonly Position[]): Position | undefined {
  return positions.reduce<Position | undefined>(
    (most, one) => (most && comparePositions(most, one) >= 0 ? most : one),
    undefined,
  );
}

function lowestAbove(positions: readonly Position[], below: Position | undefined): Position | undefined {
  const above = below === undefined ? positions : positions.filter((one) => comparePositions(one, below) > 0);
  return above.reduce<Position | undefined>(
    (least, one) => (least && comparePositions(least, one) <= 0 ? least : one),
    undefined,
  );
}

/** Positions are never empty, and where one is looked into it is long enough. */
function at(position: Position | undefined, i: number): number {
  return position?.[i] ?? 0;
}
