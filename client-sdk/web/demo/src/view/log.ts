import type { SyncEvent } from '../../../src/index.js';
import { byId, h } from '../dom.js';
import { titleOf } from '../library.js';
import { starChange } from '../stars.js';

const KEPT = 100;

export interface Logged {
  readonly event: SyncEvent;
  readonly own: boolean;
  /** What to call its device. */
  readonly who: string;
}

/** The last events of the stream, the newest on top. */
export class LogView {
  readonly #list = byId('log', HTMLElement);
  readonly #empty = byId('log-empty', HTMLElement);

  add(logged: Logged): void {
    this.#empty.hidden = true;
    this.#list.prepend(logRow(logged));
    while (this.#list.children.length > KEPT) this.#list.lastElementChild?.remove();
  }
}

function logRow({ event, own, who }: Logged): HTMLLIElement {
  const { mark, subject } = described(event);
  const time = new Date(event.acceptedAt).toLocaleTimeString();
  return h(
    'li',
    { class: own ? 'own' : 'other', 'data-seq': event.seq, title: `${event.deviceUuid}\n${time}` },
    h('span', { class: 'seq' }, `#${event.seq}`),
    h('span', { class: 'what' }, h('span', { class: 'mark', 'aria-hidden': 'true' }, mark), subject),
    h('span', { class: 'type' }, event.eventType),
    h('span', { class: 'who' }, own ? 'this window' : who),
  );
}

function described(event: SyncEvent): { readonly mark: string; readonly subject: string } {
  const change = starChange(event);
  if (!change) return { mark: '·', subject: 'touches no star' };
  return { mark: change.starred ? '★' : '☆', subject: titleOf(change.kind, change.id) ?? change.id };
}
