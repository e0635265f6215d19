import { cover } from '../cover/cover.js';
import { h } from '../dom.js';
import type { Track } from '../library.js';
import { extras } from './extras.js';
import { starButton } from './star.js';

/** A track below its album: number, title, what can be done with it, length, star. */
export function trackRow(track: Track): HTMLLIElement {
  return row(
    track,
    h('span', { class: 'number', 'aria-hidden': 'true' }, String(track.number)),
    h('span', { class: 'name' }, track.title, extras(track)),
  );
}

/** A track on its own: with its cover, album and artist. */
export function looseTrackRow(track: Track): HTMLLIElement {
  const { album } = track;
  const source = h('span', { class: 'source' }, `${album.artist} · ${album.title}`);
  const thumb = h('span', { class: 'thumb' }, cover(album.art, `row${track.number}`));
  return row(track, thumb, h('span', { class: 'name' }, track.title, source));
}

/** The list of single tracks. Rows are made once and kept, for typing in the search must not stutter. */
export class LooseTracks {
  readonly #list: HTMLElement;
  readonly #rows = new Map<Track, HTMLLIElement>();

  constructor(list: HTMLElement) {
    this.#list = list;
  }

  show(tracks: readonly Track[]): void {
    const rows = tracks.map((track) => this.#row(track));
    const same =
      rows.length === this.#list.children.length && rows.every((one, at) => this.#list.children[at] === one);
    if (!same) this.#list.replaceChildren(...rows);
  }

  #row(track: Track): HTMLLIElement {
    const known = this.#rows.get(track);
    if (known) return known;
    const made = looseTrackRow(track);
    this.#rows.set(track, made);
    return made;
  }
}

function row(track: Track, ...columns: readonly HTMLElement[]): HTMLLIElement {
  const length = h('span', { class: 'length' }, clock(track.seconds));
  const star = starButton('track', track.id, `${track.title} by ${track.album.artist}`);
  return h('li', { class: 'item row', 'data-kind': 'track', 'data-id': track.id }, ...columns, length, star);
}

function clock(seconds: number): string {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
