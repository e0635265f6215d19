import { cover } from '../cover/cover.js';
import { h } from '../dom.js';
import { albums, type Album } from '../library.js';
import { detail } from './detail.js';
import { moveInGrid } from './arrows.js';
import { starButton } from './star.js';

interface Card {
  readonly item: HTMLLIElement;
  readonly front: HTMLButtonElement;
}

/** The grid of albums. One of them may be open: its tracks then stand below its row. */
export class Shelf {
  readonly #cards = new Map<Album, Card>();
  readonly #changed: () => void;
  #open: { readonly album: Album; readonly item: HTMLLIElement } | null = null;

  /** `changed` is called after stars came into the page. */
  constructor(grid: HTMLElement, changed: () => void) {
    this.#changed = changed;
    for (const album of albums) {
      const card = this.#card(album);
      this.#cards.set(album, card);
      grid.append(card.item);
    }
    grid.addEventListener('keydown', (event) => this.#key(event));
  }

  /** Shows these albums and hides the others. */
  show(visible: readonly Album[]): void {
    const wanted = new Set(visible);
    for (const [album, card] of this.#cards) card.item.hidden = !wanted.has(album);
    if (this.#open && !wanted.has(this.#open.album)) this.#close();
  }

  #card(album: Album): Card {
    const id = `album-${album.id}`;
    const front = h(
      'button',
      { type: 'button', class: 'front', 'aria-expanded': 'false', 'aria-labelledby': id },
      cover(album.art, 'card'),
    );
    front.addEventListener('click', () => this.#toggle(album));
    const star = starButton('album', album.id, `${album.title} by ${album.artist}`);
    const text = h(
      'p',
      { class: 'label', id },
      h('strong', {}, album.title),
      ' ',
      h('span', {}, album.artist),
    );
    const clash = h('span', { class: 'clash', 'data-album': album.id }, 'Two notes');
    clash.hidden = true;
    const item = h(
      'li',
      { class: 'item card', 'data-kind': 'album', 'data-id': album.id },
      h('div', { class: 'sleeve' }, front, clash, star),
      text,
    );
    return { item, front };
  }

  #toggle(album: Album): void {
    const wasOpen = this.#open?.album === album;
    this.#close();
    if (!wasOpen) this.#show(album);
  }

  #show(album: Album): void {
    const card = this.#cards.get(album);
    if (!card) return;
    const item = detail(album, () => this.#closeAndReturn());
    card.item.after(item);
    card.front.setAttribute('aria-expanded', 'true');
    card.front.setAttribute('aria-controls', item.id);
    this.#open = { album, item };
    this.#changed();
    item.scrollIntoView({ block: 'nearest' });
  }

  #close(): void {
    if (!this.#open) return;
    const front = this.#cards.get(this.#open.album)?.front;
    front?.setAttribute('aria-expanded', 'false');
    front?.removeAttribute('aria-controls');
    this.#open.item.remove();
    this.#open = null;
  }

  #closeAndReturn(): void {
    const front = this.#open && this.#cards.get(this.#open.album)?.front;
    this.#close();
    front?.focus();
  }

  #key(event: KeyboardEvent): void {
    if (event.key === 'Escape' && this.#open) this.#closeAndReturn();
    else moveInGrid(event);
  }
}
