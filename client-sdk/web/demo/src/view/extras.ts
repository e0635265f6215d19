import { h } from '../dom.js';
import type { Track } from '../library.js';
import { RATING_MAX, type Music } from '../music.js';
import { playlists } from '../playlist.js';

/** What a person may do with a track besides starring it: rate it, play it, bring it to the room or into a playlist. */
export interface TrackActions {
  rate(trackId: string, rating: number): void;
  play(trackId: string): void;
  queue(trackId: string): void;
  put(playlistId: string, trackId: string): void;
}

/** The line below a track's title. */
export function extras(track: Track): HTMLElement {
  const id = { 'data-id': track.id };
  const rating = h('input', {
    ...id,
    type: 'range',
    class: 'rating',
    min: 0,
    max: RATING_MAX,
    value: 0,
    'aria-label': `Rate ${track.title}`,
  });
  const plays = h('span', { class: 'plays' }, '0');
  const play = h(
    'button',
    { ...id, type: 'button', class: 'play' },
    h('span', { 'aria-hidden': 'true' }, '▶ '),
    h('span', { class: 'unseen' }, `Play ${track.title}. Times played: `),
    plays,
  );
  const label = `Queue ${track.title} in the room`;
  const queue = h('button', { ...id, type: 'button', class: 'queue', 'aria-label': label }, '+ Room');
  return h('span', { class: 'extras' }, rating, play, queue, into(track));
}

/** Puts the track into the list that is chosen, and offers the same again. */
function into(track: Track): HTMLSelectElement {
  const label = `Put ${track.title} into a playlist`;
  return h(
    'select',
    { class: 'into', 'data-id': track.id, 'aria-label': label },
    h('option', { value: '' }, '+ Playlist'),
    ...playlists.map(({ id, title }) => h('option', { value: id }, title)),
  );
}

/** Calls the action of whatever is pressed or moved below `root`. */
export function listenToExtras(root: HTMLElement, actions: TrackActions): void {
  root.addEventListener('change', ({ target }) => {
    if (target instanceof HTMLInputElement && target.matches('.rating'))
      actions.rate(target.dataset['id'] ?? '', target.valueAsNumber);
    if (target instanceof HTMLSelectElement && target.matches('.into')) {
      actions.put(target.value, target.dataset['id'] ?? '');
      target.value = '';
    }
  });
  root.addEventListener('click', ({ target }) => {
    const button =
      target instanceof Element ? target.closest<HTMLElement>('button.play, button.queue') : null;
    const id = button?.dataset['id'];
    if (!button || id === undefined) return;
    if (button.matches('.play')) actions.play(id);
    else actions.queue(id);
  });
}

/** Brings ratings and play counts below `root` up to date. */
export function showExtras(root: HTMLElement, music: Music): void {
  const pending = { ratings: music.pending('ratings'), plays: music.pending('plays') };
  for (const input of root.querySelectorAll<HTMLInputElement>('.rating')) {
    const id = input.dataset['id'] ?? '';
    const rating = music.rating(id);
    input.value = String(rating);
    input.style.setProperty('--rating', String(rating));
    input.setAttribute('aria-valuetext', rating === 0 ? 'not rated' : `${rating} of ${RATING_MAX}`);
    input.toggleAttribute('data-pending', pending.ratings.has(id));
  }
  for (const button of root.querySelectorAll<HTMLElement>('button.play')) {
    const id = button.dataset['id'] ?? '';
    const plays = music.plays(id);
    button.querySelector('.plays')?.replaceChildren(String(plays));
    button.title = plays === 1 ? 'Played once' : `Played ${plays} times`;
    button.toggleAttribute('data-pending', pending.plays.has(id));
  }
}
