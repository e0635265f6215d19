import { cover } from '../cover/cover.js';
import { byId, h } from '../dom.js';
import { trackOf } from '../library.js';
import type { Queued, Room } from '../room.js';
import { deviceLabel } from './devices.js';
import { keepingFocus } from './focus.js';

/** What a person may do in the room. */
export interface RoomActions {
  move(itemId: string, by: -1 | 1): void;
  take(itemId: string): void;
  /** The first is over: it counts as played, and the next one is heard. */
  next(item: Queued): void;
}

interface Row {
  readonly item: HTMLLIElement;
  readonly up: HTMLButtonElement;
  readonly down: HTMLButtonElement;
}

/** The listening room: what is heard now and what comes next, the same in every window. */
export class RoomView {
  readonly #list = byId('queue', HTMLElement);
  readonly #next = byId('next', HTMLButtonElement);
  readonly #rows = new Map<string, Row>();
  readonly #actions: RoomActions;
  #first: Queued | undefined;

  constructor(actions: RoomActions) {
    this.#actions = actions;
    this.#next.addEventListener('click', () => {
      if (this.#first) actions.next(this.#first);
    });
  }

  show(room: Room): void {
    const queue = room.queue();
    this.#first = queue[0];
    keepingFocus(() => this.#showQueue(queue));
    this.#next.hidden = queue.length === 0;
    byId('queue-empty', HTMLElement).hidden = queue.length > 0;
    const count = byId('queue-count', HTMLElement);
    count.hidden = false;
    count.textContent = String(queue.length);
    this.#showListeners(room);
  }

  #showQueue(queue: readonly Queued[]): void {
    const kept = new Set(queue.map(({ id }) => id));
    for (const [id, { item }] of this.#rows) {
      if (kept.has(id)) continue;
      item.remove();
      this.#rows.delete(id);
    }
    queue.forEach((queued, at) => this.#place(queued, at, queue.length));
  }

  #place(queued: Queued, at: number, length: number): void {
    const row = this.#rows.get(queued.id) ?? this.#row(queued);
    this.#rows.set(queued.id, row);
    const before = this.#list.children[at];
    if (before !== row.item) this.#list.insertBefore(row.item, before ?? null);
    row.item.classList.toggle('now', at === 0);
    row.item.toggleAttribute('data-pending', queued.pending);
    // Not disabled: that would take the keyboard's place away.
    row.up.setAttribute('aria-disabled', String(at === 0));
    row.down.setAttribute('aria-disabled', String(at === length - 1));
  }

  #row({ id, trackId }: Queued): Row {
    const track = trackOf(trackId);
    const title = track?.title ?? trackId;
    const source = track ? `${track.album.artist} · ${track.album.title}` : 'not on this shelf';
    const thumb = h('span', { class: 'thumb' }, ...(track ? [cover(track.album.art, `room${id}`)] : []));
    const name = h('span', { class: 'name' }, title, h('span', { class: 'source' }, source));
    const up = button('move', '↑', `Move ${title} up`, () => this.#actions.move(id, -1));
    const down = button('move', '↓', `Move ${title} down`, () => this.#actions.move(id, 1));
    const take = button('take', '×', `Remove ${title}`, () => this.#actions.take(id));
    const item = h(
      'li',
      { class: 'item row', 'data-id': id, 'data-track': trackId },
      thumb,
      name,
      up,
      down,
      take,
    );
    return { item, up, down };
  }

  #showListeners(room: Room): void {
    const names = room
      .listeners()
      .map((device) => (device.own ? 'this window' : deviceLabel([device], device.deviceUuid)));
    byId('listeners', HTMLElement).textContent =
      names.length === 0 ? '' : `Listening: ${names.sort().join(', ')}`;
  }
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
