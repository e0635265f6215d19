import { svg } from '../dom.js';
import { ground } from './landscapes.js';
import { fixed, SIDE, type Design } from './paint.js';
import type { Seeded } from './random.js';

/** Stems with paired leaves. */
export const leaves: Design = ({ random, inks }) => {
  const light = random.chance(0.5);
  const shapes = [
    ground(light ? inks[4] : inks[0]),
    svg('circle', { cx: 100, cy: 92, r: random.whole(56, 70), fill: light ? inks[3] : inks[1] }),
  ];
  const greens = light ? ([0, 1, 2] as const) : ([4, 3, 2] as const);
  [62, 138, 100].forEach((foot, stem) => {
    const ink = inks[greens[(2 - stem) as 0 | 1 | 2]];
    const lean = (foot - 100) * random.between(0.1, 0.5);
    const height = stem === 2 ? 152 : random.between(96, 124);
    shapes.push(...sprig(random, { foot, lean, height, ink }));
  });
  return shapes;
};

/** A blossom of turned petals, ring in ring. */
export const blossom: Design = ({ random, inks }) => {
  const dark = random.chance(0.5);
  const shapes = [ground(dark ? inks[0] : inks[4])];
  const count = random.whole(7, 13);
  const circles = [
    { length: 88, ink: dark ? 1 : 3, shift: 0 },
    { length: 66, ink: 2, shift: 0.5 },
    { length: 44, ink: dark ? 3 : 1, shift: 0 },
    { length: 24, ink: dark ? 4 : 0, shift: 0.5 },
  ] as const;
  for (const { length, ink, shift } of circles) {
    const width = (length * 2.4) / count;
    for (let petal = 0; petal < count; petal += 1) {
      const turn = ((petal + shift) * 360) / count;
      const d = `M100 100C${fixed(100 - width)} ${fixed(100 - length * 0.6)} ${fixed(100 - width * 0.5)} ${100 - length} 100 ${100 - length}C${fixed(100 + width * 0.5)} ${100 - length} ${fixed(100 + width)} ${fixed(100 - length * 0.6)} 100 100Z`;
      shapes.push(svg('path', { d, fill: inks[ink], transform: `rotate(${fixed(turn)} 100 100)` }));
    }
  }
  shapes.push(svg('circle', { cx: 100, cy: 100, r: 7, fill: dark ? inks[2] : inks[3] }));
  return shapes;
};

/** Threads that follow one slow current. */
export const current: Design = ({ random, inks }) => {
  const [a, b, c] = [random.between(0.6, 1.5), random.between(0.6, 1.5), random.between(0, 6.3)];
  const heading = (x: number, y: number): number =>
    Math.sin((x / 62) * a + c) * 1.1 + Math.cos((y / 58) * b - c) * 1.1;
  const shapes = [ground(inks[0])];
  for (let thread = 0; thread < 120; thread += 1) {
    let [x, y] = [random.between(-30, SIDE), random.between(-10, SIDE + 10)];
    let d = `M${fixed(x)} ${fixed(y)}`;
    for (let step = 0; step < 16; step += 1) {
      x += Math.cos(heading(x, y)) * 6;
      y += Math.sin(heading(x, y)) * 6;
      d += `L${fixed(x)} ${fixed(y)}`;
    }
    const stroke = inks[random.pick([1, 2, 2, 3, 3, 4])];
    shapes.push(
      svg('path', {
        d,
        fill: 'none',
        stroke,
        'stroke-width': random.pick([1.5, 2.5, 2.5, 4]),
        'stroke-linecap': 'round',
      }),
    );
  }
  return shapes;
};

/** Smooth pebbles in a heap. */
export const pebbles: Design = ({ random, inks }) => {
  const shapes = [ground(inks[4])];
  let bottom = 186;
  for (
    let stone = 0, width = random.between(74, 84);
    bottom > 34 && stone < 8;
    stone += 1, width *= random.between(0.72, 0.92)
  ) {
    const height = width * random.between(0.2, 0.32);
    const x = 100 + random.between(-9, 9);
    const tilt = `rotate(${fixed(random.between(-6, 6))} ${fixed(x)} ${fixed(bottom - height)})`;
    const ink = inks[([0, 2, 1, 3] as const)[stone % 4] ?? 0];
    const box = { cx: fixed(x), cy: fixed(bottom - height), rx: fixed(width), ry: fixed(height) };
    shapes.push(svg('ellipse', { ...box, fill: ink, transform: tilt }));
    bottom -= height * 2 - 2;
  }
  return shapes;
};

interface Sprig {
  readonly foot: number;
  readonly lean: number;
  readonly height: number;
  readonly ink: string;
}

function sprig(random: Seeded, { foot, lean, height, ink }: Sprig): SVGElement[] {
  const tip = { x: foot + lean, y: 186 - height };
  const shapes: SVGElement[] = [
    svg('path', {
      d: `M${foot} 200Q${foot} ${fixed(186 - height / 2)} ${fixed(tip.x)} ${fixed(tip.y)}`,
      fill: 'none',
      stroke: ink,
      'stroke-width': 2.2,
    }),
  ];
  const pairs = Math.round(height / 17);
  for (let pair = 0; pair <= pairs; pair += 1) {
    const t = 0.2 + (0.8 * pair) / pairs;
    const [x, y] = [foot + lean * t * t, 200 - (height + 14) * t];
    const length = (1.15 - t * 0.6) * random.between(27, 33);
    for (const turn of pair === pairs ? [0] : [-58, 58]) {
      shapes.push(
        svg('path', {
          d: leaf(x, y, length),
          fill: ink,
          transform: `rotate(${turn} ${fixed(x)} ${fixed(y)})`,
        }),
      );
    }
  }
  return shapes;
}

function leaf(x: number, y: number, length: number): string {
  const half = length * 0.3;
  const top = fixed(y - length);
  const middle = fixed(y - length * 0.5);
  return `M${fixed(x)} ${fixed(y)}Q${fixed(x - half)} ${middle} ${fixed(x)} ${top}Q${fixed(x + half)} ${middle} ${fixed(x)} ${fixed(y)}Z`;
}
