import { byId, h } from '../dom.js';
import type { Shown } from '../lens.js';
import { Playlist, playlists } from '../playlist.js';
import type { Writes } from '../lens.js';
import { OrderedList } from './ordered.js';

export interface PlaylistActions {
  readonly read: Shown;
  readonly write: Writes;
  /** Makes a change, and says what is in its way. */
  act(change: () => Promise<unknown>): void;
}

interface Shelved {
  readonly playlist: Playlist;
  readonly list: OrderedList;
  readonly count: HTMLElement;
  readonly hint: HTMLElement;
}

/** The group's playlists, side by side. */
export class PlaylistsView {
  readonly #lists: readonly Shelved[];
  readonly #act: PlaylistActions['act'];

  constructor({ read, write, act }: PlaylistActions) {
    this.#act = act;
    this.#lists = playlists.map(({ id, title }) => this.#shelve(title, new Playlist(read, write, id), id));
  }

  show(): void {
    for (const { playlist, list, count, hint } of this.#lists) {
      const items = playlist.items();
      list.show(items);
      count.textContent = String(items.length);
      hint.hidden = items.length > 0;
    }
  }

  /** Puts a track at the end of a list. */
  add(playlistId: string, trackId: string): void {
    const at = playlists.findIndex(({ id }) => id === playlistId);
    const playlist = this.#lists[at]?.playlist;
    if (playlist) this.#act(() => playlist.add(trackId));
  }

  #shelve(title: string, playlist: Playlist, id: string): Shelved {
    const titleId = `playlist-${id}`;
    const ordered = h('ol', { class: 'queue', 'data-playlist': id, 'aria-labelledby': titleId });
    const count = h('span', { class: 'count' }, '0');
    const hint = h('p', { class: 'hint' }, 'Empty. Open a record and choose “+ Playlist” beside a track.');
    const list = new OrderedList(ordered, {
      place: (item, after) => this.#act(() => playlist.place(item, after)),
      take: (item) => this.#act(() => playlist.take(item)),
    });
    byId('playlists', HTMLElement).append(
      h('section', { class: 'playlist' }, h('h2', { id: titleId }, title, ' ', count), ordered, hint),
    );
    return { playlist, list, count, hint };
  }
}
