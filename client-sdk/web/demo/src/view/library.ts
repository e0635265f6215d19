import { byId, h } from '../dom.js';
import { find, type Found, type Wish } from '../find.js';
import { kinds } from '../library.js';
import type { Stars } from '../stars.js';
import { showExtras } from './extras.js';
import { keepingFocus } from './focus.js';
import { showNotes, type NoteContext } from './note.js';
import { Shelf } from './shelf.js';
import { showStars } from './star.js';
import { LooseTracks } from './tracklist.js';

const TRACKS_MAX = 60;

/** What the main part of the page shows. */
type View = 'all' | 'starred' | 'lists' | 'room';

/** The main part of the page: what the person looks for, found on the shelf; or the room in its place. */
export class LibraryView {
  readonly #stars: Stars;
  readonly #notes: NoteContext;
  readonly #root = byId('shelf', HTMLElement);
  readonly #search = byId('search', HTMLInputElement);
  readonly #views: Readonly<Record<View, HTMLButtonElement>> = {
    all: byId('view-all', HTMLButtonElement),
    starred: byId('view-starred', HTMLButtonElement),
    lists: byId('view-lists', HTMLButtonElement),
    room: byId('view-room', HTMLButtonElement),
  };
  readonly #shelf: Shelf;
  readonly #loose = new LooseTracks(byId('tracks', HTMLElement));
  #view: View = 'all';

  /** `enterRoom` is called when the person wants to see the room. */
  constructor(stars: Stars, notes: NoteContext, enterRoom: () => void) {
    this.#stars = stars;
    this.#notes = notes;
    this.#shelf = new Shelf(byId('grid', HTMLElement), () => this.#showMarks());
    this.#search.addEventListener('input', () => (this.#isElsewhere ? this.#choose('all') : this.show()));
    for (const view of ['all', 'starred', 'lists', 'room'] as const) {
      this.#views[view].addEventListener('click', () => this.#choose(view));
    }
    this.#views.room.addEventListener('click', enterRoom);
    document.addEventListener('keydown', (event) => this.#slash(event));
  }

  /** Brings everything up to date with the stream and the search. */
  show(): void {
    keepingFocus(() => {
      const wish: Wish = { text: this.#search.value, starredOnly: this.#view === 'starred' };
      const found = find(wish, this.#stars);
      this.#shelf.show(found.albums);
      this.#loose.show(found.tracks.slice(0, TRACKS_MAX));
      this.#showFrame(wish, found);
      this.#showMarks();
    });
    this.#showCount();
  }

  #showMarks(): void {
    showStars(this.#root, this.#stars);
    showExtras(this.#root, this.#notes.music);
    showNotes(this.#root, this.#notes);
  }

  #choose(view: View): void {
    this.#view = view;
    document.body.dataset['view'] = view;
    for (const [name, button] of Object.entries(this.#views))
      button.setAttribute('aria-pressed', String(name === view));
    this.show();
    scrollTo({ top: 0 });
  }

  #showFrame(wish: Wish, found: Found): void {
    const elsewhere = this.#isElsewhere;
    const nothing = found.albums.length + found.tracks.length === 0;
    const searching = wish.text.trim() !== '';
    byId('room', HTMLElement).hidden = this.#view !== 'room';
    byId('lists', HTMLElement).hidden = this.#view !== 'lists';
    byId('hero', HTMLElement).hidden = elsewhere || searching || wish.starredOnly;
    byId('albums-section', HTMLElement).hidden = elsewhere || found.albums.length === 0;
    byId('tracks-section', HTMLElement).hidden = elsewhere || found.tracks.length === 0;
    const empty = byId('empty', HTMLElement);
    empty.hidden = elsewhere || !nothing;
    empty.replaceChildren(...(nothing ? emptyWords(searching) : []));
    byId('summary', HTMLElement).textContent = searching && !nothing && !elsewhere ? summary(found) : '';
  }

  /** What is shown is not the shelf. */
  get #isElsewhere(): boolean {
    return this.#view === 'room' || this.#view === 'lists';
  }

  #showCount(): void {
    const count = find({ text: '', starredOnly: true }, this.#stars);
    byId('starred-count', HTMLElement).textContent = String(count.albums.length + count.tracks.length);
  }

  /** `/` goes to the search, unless it is being typed somewhere. */
  #slash(event: KeyboardEvent): void {
    if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof HTMLElement && event.target.matches('input, textarea')) return;
    event.preventDefault();
    this.#search.focus();
    this.#search.select();
  }
}

/** Which collections the library shows. */
export const shown: ReadonlySet<string> = new Set([
  ...Object.values(kinds).map((kind) => kind.collection),
  ...['ratings', 'plays', 'notes', 'playlists'],
]);

function emptyWords(searching: boolean): readonly HTMLElement[] {
  const words: readonly [string, string] = searching
    ? ['Nothing found', 'No album, artist or track on this shelf has that name.']
    : [
        'No stars yet',
        'Press the star on a cover or beside a track. It appears here, and in every window of this group.',
      ];
  return [h('strong', {}, words[0]), h('p', {}, words[1])];
}

function summary(found: Found): string {
  const albums = found.albums.length === 1 ? '1 album' : `${found.albums.length} albums`;
  const tracks = found.tracks.length === 1 ? '1 track' : `${found.tracks.length} tracks`;
  const more = found.tracks.length > TRACKS_MAX ? `, the first ${TRACKS_MAX} shown` : '';
  return `${albums} and ${tracks}${more}`;
}
