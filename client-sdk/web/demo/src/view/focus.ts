/**
 * Renders without losing the keyboard's place: if what had the focus goes away, its neighbour in the list gets it.
 */
export function keepingFocus(render: () => void): void {
  const focused = document.activeElement;
  const item = focused instanceof HTMLElement ? focused.closest<HTMLElement>('li.item') : null;
  const neighbours = item ? aroundIt(item) : [];
  render();
  if (!(focused instanceof HTMLElement) || !item) return;
  if (isShown(item)) {
    if (document.activeElement !== focused) focused.focus({ preventScroll: true });
    return;
  }
  neighbours.find(isShown)?.querySelector<HTMLElement>('.star, .take')?.focus();
}

/** The items after it, then those before it, the nearest first. */
function aroundIt(item: HTMLElement): readonly HTMLElement[] {
  const all = [...(item.parentElement?.querySelectorAll<HTMLElement>(':scope > li.item') ?? [])];
  const at = all.indexOf(item);
  return [...all.slice(at + 1), ...all.slice(0, Math.max(at, 0)).reverse()];
}

function isShown(element: HTMLElement): boolean {
  return element.isConnected && !element.hidden;
}
