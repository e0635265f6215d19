import { svg } from '../dom.js';
import { arches, discs, phases, poster, rings, tiles, weave } from './geometry.js';
import { dunes, night, peaks, ridges, strata, sun } from './landscapes.js';
import { blossom, current, leaves, pebbles } from './organic.js';
import { SIDE, type Design } from './paint.js';
import { palettes, type Palette, type PaletteName } from './palettes.js';
import { Seeded } from './random.js';

const designs = {
  arches,
  blossom,
  current,
  discs,
  dunes,
  leaves,
  night,
  peaks,
  pebbles,
  phases,
  poster,
  ridges,
  rings,
  strata,
  sun,
  tiles,
  weave,
} as const satisfies Record<string, Design>;

export type DesignName = keyof typeof designs;

/** What a cover is drawn from; the same art gives the same drawing everywhere. */
export interface Art {
  readonly seed: string;
  readonly design: DesignName;
  readonly palette: PaletteName;
}

/** Draws a cover. `place` tells apart several drawings of one cover in one page. */
export function cover(art: Art, place: string): SVGSVGElement {
  const paint = { random: new Seeded(art.seed), inks: palettes[art.palette], scope: `${place}-${art.seed}` };
  const frame = { viewBox: `0 0 ${SIDE} ${SIDE}`, class: 'cover', 'aria-hidden': 'true', focusable: 'false' };
  return svg('svg', frame, ...designs[art.design](paint));
}

export function inksOf(art: Art): Palette {
  return palettes[art.palette];
}
