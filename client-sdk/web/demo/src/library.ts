import type { Art, DesignName } from './cover/cover.js';
import type { PaletteName } from './cover/palettes.js';
import { Seeded } from './cover/random.js';
import { shelf } from './shelf.js';

/** The collections and event types of the music schema (config/schemas/music.toml). */
export const kinds = {
  album: { collection: 'albums', key: 'album_id', star: 'star_album', unstar: 'unstar_album' },
  track: { collection: 'tracks', key: 'track_id', star: 'star_track', unstar: 'unstar_track' },
} as const;

export type Kind = keyof typeof kinds;

export interface Track {
  /** `<album id>.<number>` */
  readonly id: string;
  readonly title: string;
  readonly number: number;
  readonly seconds: number;
  readonly album: Album;
}

export interface Album {
  readonly id: string;
  readonly title: string;
  readonly artist: string;
  readonly year: number;
  readonly art: Art;
  readonly tracks: readonly Track[];
}

/** One line of the shelf: title, artist, year, design and palette of the cover, tracks. */
export type Row = readonly [string, string, number, DesignName, PaletteName, readonly string[]];

export const albums: readonly Album[] = shelf.map(album);
export const tracks: readonly Track[] = albums.flatMap((one) => one.tracks);

const titles = new Map<string, string>([
  ...albums.map((one) => [`album ${one.id}`, one.title] as const),
  ...tracks.map((one) => [`track ${one.id}`, one.title] as const),
]);

/** The title behind an id, if this library has it: others may star things that it lacks. */
export function titleOf(kind: Kind, id: string): string | undefined {
  return titles.get(`${kind} ${id}`);
}

const tracksById = new Map(tracks.map((track) => [track.id, track]));

/** The track behind an id, if this library has it. */
export function trackOf(id: string): Track | undefined {
  return tracksById.get(id);
}

function album([title, artist, year, design, palette, names]: Row): Album {
  const id = slug(title);
  const random = new Seeded(`lengths of ${id}`);
  const tracks: Track[] = [];
  const made: Album = { id, title, artist, year, art: { seed: id, design, palette }, tracks };
  names.forEach((name, index) => {
    const number = index + 1;
    tracks.push({ id: `${id}.${number}`, title: name, number, seconds: random.whole(128, 396), album: made });
  });
  return made;
}

function slug(title: string): string {
  return plain(title)
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
}

/** Lower case without accents: what search compares. */
export function plain(text: string): string {
  return text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
}
