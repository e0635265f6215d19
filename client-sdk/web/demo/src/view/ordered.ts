import { cover } from '../cover/cover.js';
import { byId, h, svg } from '../dom.js';
import { trackOf } from '../library.js';
import type { Item } from '../playlist.js';
import { drag } from './drag.js';
import { keepingFocus } from './focus.js';

export interface OrderedActions {
  /** Puts an item behind another one; null: at the beginning. */
  place(itemId: string, after: string | null): void;
  take(itemId: string): void;
}

interface Row {
  readonly item: HTMLLIElement;
  readonly up: HTMLButtonElement;
  readonly down: HTMLButtonElement;
}

/** Tracks in an order that people change: by dragging, by the arrow keys on the handle, by buttons. */
export class OrderedList {
  readonly #list: HTMLElement;
  readonly #actions: OrderedActions;
  readonly #rows = new Map<string, Row>();
  #items: readonly Item[] = [];
  #isDragging = false;

  constructor(list: HTMLElement, actions: OrderedActions) {
    this.#list = list;
    this.#actions = actions;
  }

  /** What others do while a row is dragged shows when it is let go. */
  show(items: readonly Item[]): void {
    this.#items = items;
    if (!this.#isDragging) keepingFocus(() => this.#render());
  }

  #render(): void {
    const kept = new Set(this.#items.map(({ id }) => id));
    for (const [id, { item }] of this.#rows) {
      if (kept.has(id)) continue;
      item.remove();
      this.#rows.delete(id);
    }
    this.#items.forEach((item, at) => this.#put(item, at));
  }

  #put(item: Item, at: number): void {
    const row = this.#rows.get(item.id) ?? this.#row(item);
    this.#rows.set(item.id, row);
    const before = this.#list.children[at];
    if (before !== row.item) this.#list.insertBefore(row.item, before ?? null);
    row.item.classList.toggle('now', at === 0);
    row.item.toggleAttribute('data-pending', item.pending);
    // Not disabled: that would take the keyboard's place away.
    row.up.setAttribute('aria-disabled', String(at === 0));
    row.down.setAttribute('aria-disabled', String(at === this.#items.length - 1));
  }

  #row({ id, trackId }: Item): Row {
    const track = trackOf(trackId);
    const title = track?.title ?? trackId;
    const source = track ? `${track.album.artist} · ${track.album.title}` : 'not on this shelf';
    const thumb = h('span', { class: 'thumb' }, ...(track ? [cover(track.album.art, `list${id}`)] : []));
    const name = h('span', { class: 'name' }, title, h('span', { class: 'source' }, source));
    const up = button('move', '↑', `Move ${title} up`, () => this.#move(id, title, -1));
    const down = button('move', '↓', `Move ${title} down`, () => this.#move(id, title, 1));
    const take = button('take', '×', `Remove ${title}`, () => this.#actions.take(id));
    const grip = this.#grip(id, title);
    const item = h(
      'li',
      { class: 'item row', 'data-id': id, 'data-track': trackId },
      grip,
      thumb,
      name,
      up,
      down,
      take,
    );
    grip.addEventListener('pointerdown', (press) => this.#drag(press, item));
    return { item, up, down };
  }

  #grip(id: string, title: string): HTMLButtonElement {
    const dots = [4, 10, 16].flatMap((y) => [7, 13].map((x) => svg('circle', { cx: x, cy: y, r: 1.6 })));
    const icon = svg('svg', { viewBox: '0 0 20 20', 'aria-hidden': 'true', focusable: 'false' }, ...dots);
    const label = `Reorder ${title}: drag, or press the arrow keys`;
    const grip = h('button', { type: 'button', class: 'grip', 'aria-label': label, title: label }, icon);
    grip.addEventListener('keydown', (event) => {
      const by = event.key === 'ArrowUp' ? -1 : event.key === 'ArrowDown' ? 1 : null;
      if (by === null) return;
      event.preventDefault();
      this.#move(id, title, by);
    });
    return grip;
  }

  #move(id: string, title: string, by: -1 | 1): void {
    const at = this.#items.findIndex((item) => item.id === id);
    const to = at + by;
    if (at < 0 || to < 0 || to >= this.#items.length) return;
    // Behind what comes before it then: of those that are left.
    const others = this.#items.filter((item) => item.id !== id);
    this.#actions.place(id, others[to - 1]?.id ?? null);
    byId('said', HTMLElement).textContent = `${title}: ${to + 1} of ${this.#items.length}`;
  }

  #drag(press: PointerEvent, item: HTMLLIElement): void {
    this.#isDragging = true;
    drag(press, item, {
      rows: () => [...this.#rows.values()].map((row) => row.item).sort(byPlace),
      drop: (row, after) => this.#actions.place(row.dataset['id'] ?? '', after?.dataset['id'] ?? null),
      end: () => {
        this.#isDragging = false;
        this.show(this.#items);
      },
    });
  }
}

function byPlace(a: Node, b: Node): number {
  return a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1;
}

function button(kind: string, sign: string, label: string, press: () => void): HTMLButtonElement {
  const made = h(
    'button',
    { type: 'button', class: `tool ${kind}`, 'aria-label': label, title: label },
    sign,
  );
  made.addEventListener('click', press);
  return made;
}
