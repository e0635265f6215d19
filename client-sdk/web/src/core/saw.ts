/** What an intent's author saw of its entry (STORE-5). */
import { isLive, type StateEntry } from '../protocol/entry.js';
import type { Saw } from './messages.js';

/** What is kept of an entry; undefined: there is none. */
export function sawOf(entry: StateEntry | undefined): Saw {
  if (entry === undefined) return {};
  const { deviceUuid, timestamp, counter } = entry.shown;
  const saw = { changed: entry.changed, deviceUuid, timestamp, counter };
  return isLive(entry.shown) ? saw : { ...saw, removed: true };
}

/** Whether an entry is as it was seen. A removal may have been collected since. */
export function isAsSeen(entry: StateEntry | undefined, saw: Saw | undefined): boolean {
  if (saw === undefined) return false;
  if (entry === undefined) return saw.changed === undefined || saw.removed === true;
  const { deviceUuid, timestamp, counter } = entry.shown;
  return (
    entry.changed === saw.changed &&
    deviceUuid === saw.deviceUuid &&
    timestamp === saw.timestamp &&
    counter === saw.counter
  );
}
