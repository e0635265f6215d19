import { cover } from '../cover/cover.js';
import { byId, h } from '../dom.js';
import { albums } from '../library.js';

const FANNED = ['lantern-year', 'honey-for-the-engine', 'paper-harbours', 'aqueduct'];

/** A fan of four covers beside the opening words. */
export function decorateHero(): void {
  const chosen = FANNED.flatMap((id) => albums.filter((album) => album.id === id));
  const drawings = chosen.map((album, index) => {
    const drawing = cover(album.art, 'fan');
    drawing.style.setProperty('--turn', `${(index - (chosen.length - 1) / 2) * 16}deg`);
    return drawing;
  });
  byId('hero', HTMLElement).append(h('div', { class: 'fan', 'aria-hidden': 'true' }, ...drawings));
}
