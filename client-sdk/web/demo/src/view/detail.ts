import { cover, inksOf } from '../cover/cover.js';
import { h } from '../dom.js';
import type { Album } from '../library.js';
import { note } from './note.js';
import { starButton } from './star.js';
import { trackRow } from './tracklist.js';

/** An opened album, in the colours of its cover. */
export function detail(album: Album, close: () => void): HTMLLIElement {
  const closing = h('button', { type: 'button', class: 'close', 'aria-label': `Close ${album.title}` }, '×');
  closing.addEventListener('click', close);
  const minutes = Math.round(album.tracks.reduce((sum, track) => sum + track.seconds, 0) / 60);
  const facts = `${album.year} · ${album.tracks.length} tracks · ${minutes} minutes`;
  const titleId = `detail-${album.id}`;
  const head = h(
    'div',
    { class: 'head' },
    h('h3', { id: titleId }, album.title),
    h('p', { class: 'artist' }, album.artist),
    h('p', { class: 'facts' }, facts),
  );
  const star = starButton('album', album.id, `${album.title} by ${album.artist}`);
  const front = h('div', { class: 'front' }, cover(album.art, 'detail'), star);
  const list = h('ol', { class: 'tracks' }, ...album.tracks.map(trackRow));
  const panel = h(
    'section',
    { class: 'opened', 'aria-labelledby': titleId },
    front,
    h('div', { class: 'body' }, head, list, note(album)),
    closing,
  );
  inksOf(album.art).forEach((ink, index) => panel.style.setProperty(`--ink${index}`, ink));
  return h('li', { class: 'detail', id: `opened-${album.id}` }, panel);
}
