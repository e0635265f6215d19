import type { Shown, Writes } from './lens.js';

const COLLECTION = 'playlists';

/** Lists that every group has. What is in them is the group's. */
export const playlists = [
  { id: 'sunday-morning', title: 'Sunday morning' },
  { id: 'on-the-road', title: 'On the road' },
  { id: 'after-midnight', title: 'After midnight' },
] as const;

/** Something that is to be heard, in its place. */
export interface Item {
  readonly id: string;
  readonly trackId: string;
  /** True while a change of this window is not confirmed. */
  readonly pending: boolean;
}

/** One list of tracks, in order. A track may be in it twice. */
export class Playlist {
  readonly #read: Pick<Shown, 'list'>;
  readonly #write: Writes;
  readonly #id: string;

  constructor(read: Pick<Shown, 'list'>, write: Writes, id: string) {
    this.#read = read;
    this.#write = write;
    this.#id = id;
  }

  items(): readonly Item[] {
    const items = this.#read.list(COLLECTION, this.#id);
    return items.map(({ key, value, pending }) => ({ id: key, trackId: String(value), pending }));
  }

  /** Puts a track at the end. */
  async add(trackId: string): Promise<void> {
    await this.#put({ item_id: mint(), track_id: trackId });
  }

  /** Puts an item behind another one; null: at the beginning. */
  async place(id: string, after: string | null): Promise<void> {
    const items = this.items();
    const at = items.findIndex((item) => item.id === id);
    const item = items[at];
    if (item === undefined || after === id || (items[at - 1]?.id ?? null) === after) return;
    await this.#put({ item_id: id, track_id: item.trackId, after });
  }

  async take(id: string): Promise<void> {
    await this.#publish('take_from_playlist', { item_id: id });
  }

  async #put(item: Readonly<Record<string, string | null>>): Promise<void> {
    await this.#publish('put_in_playlist', { ...item, playlist_id: this.#id });
  }

  async #publish(eventType: string, eventData: Readonly<Record<string, string | null>>): Promise<void> {
    const receipt = await this.#write.publish(eventType, eventData);
    // A refusal is told by `setaside`.
    receipt.saved.catch(() => undefined);
  }
}

/** A track may be in a list twice, so an item has an id of its own. */
function mint(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
