import type { StarChange } from '../stars.js';

const SHOWN_MS = 2600;

/** Marks what another device has just changed, and says who. Tracks also light up the album that they are on. */
export function touch(root: HTMLElement, change: StarChange, who: string): void {
  const album = change.kind === 'track' ? change.id.slice(0, change.id.lastIndexOf('.')) : change.id;
  for (const item of root.querySelectorAll<HTMLElement>('.item')) {
    const isIt = item.dataset['kind'] === change.kind && item.dataset['id'] === change.id;
    const isItsAlbum = item.dataset['kind'] === 'album' && item.dataset['id'] === album;
    const sign = change.starred ? '★' : '☆';
    if (isIt) lightUp(item, `${sign} ${who}`);
    else if (isItsAlbum) lightUp(item, `${sign} track · ${who}`);
  }
}

function lightUp(item: HTMLElement, note: string): void {
  const stamp = String(performance.now());
  item.dataset['by'] = note;
  item.dataset['touched'] = stamp;
  item.classList.remove('touched');
  void item.offsetWidth; // starts the animation anew
  item.classList.add('touched');
  setTimeout(() => {
    if (item.dataset['touched'] === stamp) item.classList.remove('touched');
  }, SHOWN_MS);
}
