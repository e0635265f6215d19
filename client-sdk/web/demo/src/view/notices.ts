import type { SetAside } from '../../../src/index.js';
import { byId, h } from '../dom.js';

const SHOWN_MS = 12_000;
const KEPT = 4;

/** Small messages in the corner: they go by themselves, or when told to. */
export class Notices {
  readonly #box = byId('notices', HTMLElement);

  tell(text: string): void {
    const closing = h('button', { type: 'button', class: 'close', 'aria-label': 'Dismiss' }, '×');
    const notice = h('p', { class: 'notice' }, h('span', {}, text), closing);
    closing.addEventListener('click', () => notice.remove());
    this.#box.append(notice);
    while (this.#box.children.length > KEPT) this.#box.firstElementChild?.remove();
    setTimeout(() => notice.remove(), SHOWN_MS);
  }

  setAside(intent: SetAside): void {
    this.tell(`A change was set aside (${intent.eventType}): ${intent.reason || intent.refusal}`);
  }
}
