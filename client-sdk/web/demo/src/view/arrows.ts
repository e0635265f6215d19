/** Arrow keys among the covers of a grid, by where they stand on the screen. */

type Way = (from: DOMRect, to: DOMRect) => number | null;

/** How far a cover lies in the direction of a key; null: not that way. */
const ways: Readonly<Record<string, Way>> = {
  ArrowRight: (from, to) => (sameRow(from, to) && to.left > from.left ? to.left - from.left : null),
  ArrowLeft: (from, to) => (sameRow(from, to) && to.left < from.left ? from.left - to.left : null),
  ArrowDown: (from, to) => (to.top > from.bottom ? to.top - from.top + Math.abs(to.left - from.left) : null),
  ArrowUp: (from, to) => (to.bottom < from.top ? from.top - to.top + Math.abs(to.left - from.left) : null),
};

export function moveInGrid(event: KeyboardEvent): void {
  const way = ways[event.key];
  const from = event.target;
  if (!way || event.altKey || event.ctrlKey || event.metaKey) return;
  if (!(from instanceof HTMLElement) || !from.matches('.card .front')) return;
  const to = nearest(from, way);
  if (!to) return;
  event.preventDefault();
  to.focus();
}

function nearest(from: HTMLElement, way: Way): HTMLElement | null {
  const start = from.getBoundingClientRect();
  let best: { readonly element: HTMLElement; readonly distance: number } | null = null;
  for (const element of from.closest('ul')?.querySelectorAll<HTMLElement>('.card:not([hidden]) .front') ??
    []) {
    const distance = way(start, element.getBoundingClientRect());
    if (distance !== null && distance < (best?.distance ?? Infinity)) best = { element, distance };
  }
  return best?.element ?? null;
}

function sameRow(a: DOMRect, b: DOMRect): boolean {
  return Math.abs(a.top - b.top) < a.height / 2;
}
