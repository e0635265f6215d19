import type { Palette } from './palettes.js';
import type { Seeded } from './random.js';

/** Covers are drawn on a square of this many units. */
export const SIDE = 200;

/** What a design draws with. `scope` makes the ids of gradients and clips unique in the page. */
export interface Paint {
  readonly random: Seeded;
  readonly inks: Palette;
  readonly scope: string;
}

/** A design returns its shapes from back to front. */
export type Design = (paint: Paint) => SVGElement[];

export type Curve = (x: number) => number;

/** Short decimals keep forty inline drawings small. */
export function fixed(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** A smooth line around `level`, made of two sines. */
export function wave(random: Seeded, level: number, height: number): Curve {
  const [first, second] = [random.between(0.6, 1.4), random.between(1.8, 3.2)];
  const [shift, turn] = [random.between(0, 7), random.between(0, 7)];
  return (x) => {
    const t = (x / SIDE) * Math.PI * 2;
    return level + height * (0.7 * Math.sin(first * t + shift) + 0.3 * Math.sin(second * t + turn));
  };
}

/** The line of a curve across the whole cover. */
export function line(curve: Curve, step = 4): string {
  const points: string[] = [];
  for (let x = 0; x <= SIDE; x += step) points.push(`${x} ${fixed(curve(x))}`);
  return `M${points.join('L')}`;
}

/** Everything below a curve. */
export function below(curve: Curve, step = 4): string {
  return `${line(curve, step)}V${SIDE}H0Z`;
}
