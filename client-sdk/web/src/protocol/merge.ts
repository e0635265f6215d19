/** What an entry is once an event is applied: the kinds and policies (STATE-4 … STATE-10). */
import { compareActs, isLive, saw, type Judged, type OpenAct, type StateEntry } from './entry.js';
import { placeAfter, placeKept, type Entries } from './list.js';
import type { CollectionSchema, Operation } from './schema.js';

type Acts = readonly OpenAct[];

/** The entry after `event`, undefined if it stays as it is. `entries`: those of its collection, before it. */
export function entryAfter(
  schema: CollectionSchema,
  entries: Entries,
  event: Judged,
  operation: Operation,
): StateEntry | undefined {
  const entry = entries.get(operation.key);
  const act = actOf(entries, event, operation);
  if (act === undefined) return undefined;
  const before = entry === undefined ? [] : [entry.shown, ...entry.conflicts];
  const acts = schema.kind === 'counter' ? [act] : actsAfter(schema, before, event, act);
  return acts === before ? undefined : entryOf(acts, event.seq);
}

/** What the event itself says; undefined: nothing, since the sum would leave the integers (STATE-10). */
function actOf(entries: Entries, event: Judged, { key, action }: Operation): OpenAct | undefined {
  const { seq, deviceUuid, timestamp, counter } = event;
  const said = { seq, deviceUuid, timestamp, counter };
  const entry = entries.get(key);
  switch (action.type) {
    case 'put':
      return { value: action.value, ...said };
    case 'count': {
      const counted = entry?.shown.value;
      const sum = (typeof counted === 'number' ? counted : 0) + action.amount;
      return Number.isSafeInteger(sum) ? { value: sum, ...said } : undefined;
    }
    case 'place':
      return { value: action.value, ...said, place: placeAfter(entries, key, action, event) };
    case 'remove': {
      const place = placeKept(entry, event);
      return { value: undefined, ...said, ...(place === undefined ? {} : { place }) };
    }
  }
}

/** The open acts after one more; the very same array if nothing changes. */
function actsAfter(schema: CollectionSchema, acts: Acts, event: Judged, act: OpenAct): Acts {
  switch (schema.conflict) {
    case 'add_wins':
      return addWins(acts, event, act);
    case 'remove_wins':
      return removeWins(acts, event, act);
    case 'keep_both':
      return keepBoth(acts, event, act, schema.openValuesMax ?? Infinity);
    default:
      return lastWriteWins(acts, event, act);
  }
}

/** STATE-4: causality before clocks. */
function lastWriteWins(acts: Acts, event: Judged, act: OpenAct): Acts {
  const [winner] = acts;
  return winner === undefined || saw(event, winner) || compareActs(act, winner) > 0 ? [act] : acts;
}

/** STATE-6. */
function addWins(acts: Acts, event: Judged, act: OpenAct): Acts {
  const adds = acts.filter(isLive);
  const left = adds.filter((add) => !saw(event, add));
  if (isLive(act)) return [...left, act];
  if (left.length === adds.length) return acts;
  return left.length > 0 ? left : [act];
}

/** STATE-7. */
function removeWins(acts: Acts, event: Judged, act: OpenAct): Acts {
  const removals = acts.filter((one) => !isLive(one));
  const left = removals.filter((removal) => !saw(event, removal));
  if (!isLive(act)) return [...left, act];
  if (removals.length === 0) return lastWriteWins(acts, event, act);
  if (left.length === removals.length) return acts;
  return left.length > 0 ? left : [act];
}

/** STATE-8. */
function keepBoth(acts: Acts, event: Judged, act: OpenAct, most: number): Acts {
  const open = [...acts.filter((one) => !saw(event, one)), act].sort(compareActs);
  const kept = open.length > most ? open.slice(1) : open;
  return kept.includes(act) ? kept : acts;
}

/** Shown is the highest live act, or the highest removal if none is live. */
function entryOf(acts: Acts, changed: number): StateEntry | undefined {
  const ordered = [...acts].sort((a, b) => compareActs(b, a));
  const shown = ordered.find(isLive) ?? ordered[0];
  if (shown === undefined) return undefined;
  return { shown, conflicts: ordered.filter((act) => act !== shown), changed };
}
