import type { SyncEvent } from '../../../src/index.js';
import { byId, h } from '../dom.js';
import { titleOf } from '../library.js';
import { musicChange } from '../music.js';
import { starChange } from '../stars.js';

const KEPT = 100;

export interface Logged {
  readonly event: SyncEvent;
  readonly own: boolean;
  /** What to call its device. */
  readonly who: string;
}

/** The last events of the streams, the newest on top; those of the room have a note before their number. */
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
    h('span', { class: 'seq' }, event.channel === null ? `#${event.seq}` : `♪${event.seq}`),
    h('span', { class: 'what' }, h('span', { class: 'mark', 'aria-hidden': 'true' }, mark), subject),
    h('span', { class: 'type' }, event.eventType),
    h('span', { class: 'who' }, own ? 'this window' : who),
  );
}

/** An event in a sign and a few words. */
export function described(event: SyncEvent): { readonly mark: string; readonly subject: string } {
  const star = starChange(event);
  if (star) return { mark: star.starred ? '★' : '☆', subject: titleOf(star.kind, star.id) ?? star.id };
  const music = musicChange(event);
  if (music) return { mark: music.mark, subject: titleOf(music.kind, music.about) ?? music.about };
  return {
    mark: '·',
    subject: event.eventType === 'take_from_playlist' ? 'taken from a list' : 'touches no star',
  };
}
