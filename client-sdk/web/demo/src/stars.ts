import type { SyncEvent } from '../../src/index.js';
import type { Shown, Writes } from './lens.js';
import { kinds, type Kind } from './library.js';

/** What an event did to a star, if it is about one. */
export interface StarChange {
  readonly kind: Kind;
  readonly id: string;
  readonly starred: boolean;
}

/** The stars of this group, in the words of the music library. */
export class Stars {
  readonly #read: Pick<Shown, 'has' | 'entries'>;
  readonly #write: Writes;

  constructor(read: Pick<Shown, 'has' | 'entries'>, write: Writes) {
    this.#read = read;
    this.#write = write;
  }

  has(kind: Kind, id: string): boolean {
    return this.#read.has(kinds[kind].collection, id);
  }

  /** Ids whose star this device changed and the broker has not confirmed. */
  pending(kind: Kind): ReadonlySet<string> {
    const entries = this.#read.entries(kinds[kind].collection).filter((entry) => entry.pending);
    return new Set(entries.map((entry) => entry.key));
  }

  async toggle(kind: Kind, id: string): Promise<void> {
    const { star, unstar, key } = kinds[kind];
    const receipt = await this.#write.publish(this.has(kind, id) ? unstar : star, { [key]: id });
    // A refusal is told by `setaside`, also for intents of an earlier visit; here it needs no second word.
    receipt.saved.catch(() => undefined);
  }
}

/** Reads an event that anybody may have sent: nothing in it is taken for granted. */
export function starChange(event: SyncEvent): StarChange | null {
  for (const kind of ['album', 'track'] as const) {
    const { star, unstar, key } = kinds[kind];
    if (event.eventType !== star && event.eventType !== unstar) continue;
    const id = textUnder(event.eventData, key);
    return id === null ? null : { kind, id, starred: event.eventType === star };
  }
  return null;
}

/** A text of a map that anybody may have sent. */
export function textUnder(data: unknown, key: string): string | null {
  if (typeof data !== 'object' || data === null || !Object.hasOwn(data, key)) return null;
  const value: unknown = Reflect.get(data, key);
  return typeof value === 'string' ? value : null;
}
