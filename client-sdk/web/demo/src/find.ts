import { albums, plain, tracks, type Album, type Track } from './library.js';
import type { Stars } from './stars.js';

/** What the person looks for. */
export interface Wish {
  readonly text: string;
  readonly starredOnly: boolean;
}

export interface Found {
  readonly albums: readonly Album[];
  /** Single tracks; none while the whole library is shown. */
  readonly tracks: readonly Track[];
}

const albumText = new Map(
  albums.map((album) => [album, plain(`${album.title} ${album.artist} ${album.year}`)]),
);
const trackText = new Map(tracks.map((track) => [track, plain(track.title)]));

export function find(wish: Wish, stars: Stars): Found {
  const words = plain(wish.text).split(/\s+/).filter(Boolean);
  const albumHits = albums.filter((album) => matches(albumText.get(album), words));
  const trackHits =
    words.length > 0 || wish.starredOnly ? tracks.filter((track) => matchesTrack(track, words)) : [];
  if (!wish.starredOnly) return { albums: albumHits, tracks: trackHits };
  return {
    albums: albumHits.filter((album) => stars.has('album', album.id)),
    tracks: trackHits.filter((track) => stars.has('track', track.id)),
  };
}

/** Every word must be there; at least one in the track's own title, else every track of an album would match its name. */
function matchesTrack(track: Track, words: readonly string[]): boolean {
  const own = trackText.get(track);
  const all = `${own ?? ''} ${albumText.get(track.album) ?? ''}`;
  return matches(all, words) && (words.length === 0 || words.some((word) => matches(own, [word])));
}

function matches(text: string | undefined, words: readonly string[]): boolean {
  return words.every((word) => text?.includes(word) ?? false);
}
