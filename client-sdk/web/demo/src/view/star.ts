import { h, svg } from '../dom.js';
import type { Kind } from '../library.js';
import type { Stars } from '../stars.js';

const SHAPE =
  'M10 1.8l2.5 5.3 5.8.7-4.300 4 1.150 5.700L10 14.700l-5.150 2.800L6 11.800l-4.300-4 5.800-.700z';

/** A star to press. Its name never changes; whether it is pressed does. */
export function starButton(kind: Kind, id: string, title: string): HTMLButtonElement {
  const icon = svg(
    'svg',
    { viewBox: '0 0 20 20', 'aria-hidden': 'true', focusable: 'false' },
    svg('path', { d: SHAPE }),
  );
  const name = kind === 'album' ? `Star the album ${title}` : `Star the track ${title}`;
  const attributes = {
    type: 'button',
    class: 'star',
    'aria-pressed': 'false',
    'aria-label': name,
    'data-kind': kind,
    'data-id': id,
  };
  return h('button', attributes, icon);
}

/** Calls `toggle` for every star pressed below `root`. */
export function listenToStars(root: HTMLElement, toggle: (kind: Kind, id: string) => void): void {
  root.addEventListener('click', (event) => {
    const button = event.target instanceof Element ? event.target.closest<HTMLElement>('button.star') : null;
    if (button?.dataset['id']) toggle(kindOf(button), button.dataset['id']);
  });
}

/** Brings every star below `root` up to date. */
export function showStars(root: HTMLElement, stars: Stars): void {
  const pending = { album: stars.pending('album'), track: stars.pending('track') };
  for (const button of root.querySelectorAll<HTMLElement>('button.star')) {
    const [kind, id] = [kindOf(button), button.dataset['id'] ?? ''];
    button.setAttribute('aria-pressed', String(stars.has(kind, id)));
    button.toggleAttribute('data-pending', pending[kind].has(id));
  }
}

function kindOf(element: HTMLElement): Kind {
  return element.dataset['kind'] === 'track' ? 'track' : 'album';
}
