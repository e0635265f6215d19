import { byId, h } from '../dom.js';
import { find, type Found, type Wish } from '../find.js';
import { kinds } from '../library.js';
import type { Stars } from '../stars.js';
import { keepingFocus } from './focus.js';
import { Shelf } from './shelf.js';
import { showStars } from './star.js';
import { LooseTracks } from './tracklist.js';

const TRACKS_MAX = 60;

/** The main part of the page: what the person looks for, found on the shelf. */
export class LibraryView {
  readonly #stars: Stars;
  readonly #root = byId('shelf', HTMLElement);
  readonly #search = byId('search', HTMLInputElement);
  readonly #all = byId('view-all', HTMLButtonElement);
  readonly #starred = byId('view-starred', HTMLButtonElement);
  readonly #shelf: Shelf;
  readonly #loose = new LooseTracks(byId('tracks', HTMLElement));
  #starredOnly = false;

  constructor(stars: Stars) {
    this.#stars = stars;
    this.#shelf = new Shelf(byId('grid', HTMLElement), () => showStars(this.#root, stars));
    this.#search.addEventListener('input', () => this.show());
    this.#all.addEventListener('click', () => this.#choose(false));
    this.#starred.addEventListener('click', () => this.#choose(true));
    document.addEventListener('keydown', (event) => this.#slash(event));
  }

  /** Brings everything up to date with the stars and the search. */
  show(): void {
    keepingFocus(() => {
      const wish: Wish = { text: this.#search.value, starredOnly: this.#starredOnly };
      const found = find(wish, this.#stars);
      this.#shelf.show(found.albums);
      this.#loose.show(found.tracks.slice(0, TRACKS_MAX));
      this.#showFrame(wish, found);
      showStars(this.#root, this.#stars);
    });
    this.#showCount();
  }

  #choose(starredOnly: boolean): void {
    this.#starredOnly = starredOnly;
    this.#all.setAttribute('aria-pressed', String(!starredOnly));
    this.#starred.setAttribute('aria-pressed', String(starredOnly));
    this.show();
    scrollTo({ top: 0 });
  }

  #showFrame(wish: Wish, found: Found): void {
    const nothing = found.albums.length + found.tracks.length === 0;
    const searching = wish.text.trim() !== '';
    byId('hero', HTMLElement).hidden = searching || wish.starredOnly;
    byId('albums-section', HTMLElement).hidden = found.albums.length === 0;
    byId('tracks-section', HTMLElement).hidden = found.tracks.length === 0;
    const empty = byId('empty', HTMLElement);
    empty.hidden = !nothing;
    empty.replaceChildren(...(nothing ? emptyWords(searching) : []));
    byId('summary', HTMLElement).textContent = searching && !nothing ? summary(found) : '';
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
export const shown: ReadonlySet<string> = new Set(Object.values(kinds).map((kind) => kind.collection));

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
