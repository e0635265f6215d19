import type { Choice, Conflict, Entry, Receipt, SyncEvent } from '../../src/index.js';
import type { Shown, Writes } from './lens.js';
import { textUnder } from './stars.js';

export const RATING_MAX = 5;

/** What the music is changed by. */
export interface MusicWrites extends Writes {
  settle(collection: string, key: string, choice: Choice): Promise<Receipt>;
}

/** Ratings, play counts and notes of this group (config/schemas/music.toml). */
export class Music {
  readonly #read: Shown;
  readonly #write: MusicWrites;

  constructor(read: Shown, write: MusicWrites) {
    this.#read = read;
    this.#write = write;
  }

  /** 1 to 5; 0: not rated. */
  rating(trackId: string): number {
    const value = this.#read.value('ratings', trackId);
    return typeof value === 'number' ? Math.min(RATING_MAX, Math.max(0, Math.round(value))) : 0;
  }

  /** How often it was played, over all devices. */
  plays(trackId: string): number {
    const value = this.#read.value('plays', trackId);
    return typeof value === 'number' ? value : 0;
  }

  /** The note that is shown, empty without one. */
  note(albumId: string): string {
    const value = this.#read.value('notes', albumId);
    return typeof value === 'string' ? value : '';
  }

  /** What several people wrote without knowing of each other; none if there is no such conflict. */
  openNotes(albumId: string): Conflict['values'] {
    return this.#read.conflicts('notes').find(({ key }) => key === albumId)?.values ?? [];
  }

  /** Albums with such a conflict. */
  openAlbums(): ReadonlySet<string> {
    return new Set(this.#read.conflicts('notes').map(({ key }) => key));
  }

  /** Keys that this device changed and the broker has not confirmed. */
  pending(collection: 'ratings' | 'plays' | 'notes'): ReadonlySet<string> {
    const waits = ({ pending }: Entry): boolean => pending;
    return new Set(
      this.#read
        .entries(collection)
        .filter(waits)
        .map(({ key }) => key),
    );
  }

  async rate(trackId: string, rating: number): Promise<void> {
    if (rating === this.rating(trackId)) return;
    if (rating === 0) await this.#publish('unrate_track', { track_id: trackId });
    else await this.#publish('rate_track', { track_id: trackId, rating });
  }

  async play(trackId: string): Promise<void> {
    await this.#publish('play_track', { track_id: trackId });
  }

  /** Writes a note; it replaces all that this window shows. Empty: takes it away. */
  async write(albumId: string, text: string): Promise<void> {
    if (text === '') await this.#publish('delete_note', { album_id: albumId });
    else await this.#publish('write_note', { album_id: albumId, text });
  }

  /** Says which of the notes written at once shall be, or another one. */
  async settle(albumId: string, choice: Choice): Promise<void> {
    forget(await this.#write.settle('notes', albumId, choice));
  }

  async #publish(eventType: string, eventData: Readonly<Record<string, string | number>>): Promise<void> {
    forget(await this.#write.publish(eventType, eventData));
  }
}

/** A refusal is told by `setaside`. */
function forget({ saved }: Receipt): void {
  saved.catch(() => undefined);
}

/** What an event did, in a few words, if it is one of these. `about`: an album's or a track's id. */
export interface MusicChange {
  readonly mark: string;
  readonly kind: 'album' | 'track';
  readonly about: string;
}

const MARKS: Readonly<Record<string, readonly [string, 'album' | 'track']>> = {
  rate_track: ['●', 'track'],
  unrate_track: ['○', 'track'],
  play_track: ['▶', 'track'],
  write_note: ['✎', 'album'],
  delete_note: ['✎', 'album'],
  put_in_playlist: ['♪', 'track'],
};

/** Reads an event that anybody may have sent: nothing in it is taken for granted. */
export function musicChange({ eventType, eventData }: SyncEvent): MusicChange | null {
  const known = Object.hasOwn(MARKS, eventType) ? MARKS[eventType] : undefined;
  if (known === undefined) return null;
  const [mark, kind] = known;
  const about = textUnder(eventData, `${kind}_id`);
  return about === null ? null : { mark, kind, about };
}
