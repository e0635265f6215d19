import { svg } from '../dom.js';
import { below, fixed, line, SIDE, wave, type Curve, type Design, type Paint } from './paint.js';

/** Folded layers of rock: every layer sags in the middle. */
export const strata: Design = ({ random, inks }) => {
  const lowest = random.between(60, 140);
  const depth = random.between(26, 52) * random.pick([1, 1, -1]);
  const order = [4, 3, 2, 1, 3, 2, 4, 1, 0, 2, 1, 0] as const;
  const fold = (level: number): Curve => {
    const ripple = wave(random, 0, 2.5);
    return (x) => level + depth * Math.exp(-(((x - lowest) / 62) ** 2)) + ripple(x);
  };
  const shapes = [ground(inks[4])];
  let level = depth > 0 ? 8 : 46;
  for (const ink of order) {
    const edge = fold(level);
    shapes.push(svg('path', { d: below(edge), fill: inks[ink] }));
    if (random.chance(0.4)) shapes.push(hairline(edge, 4, inks[4]));
    level += random.between(9, 22);
  }
  return shapes;
};

/** A sliced sun behind hills. */
export const sun: Design = ({ random, inks, scope }) => {
  const [x, y, r] = [random.between(70, 130), random.between(82, 104), random.between(46, 62)];
  const slices: SVGElement[] = [];
  for (let top = y - r, gap = 0; top < y + r; gap += 1.1) {
    const height = Math.max(2, 15 - gap * 1.1);
    slices.push(svg('rect', { x: 0, y: fixed(top), width: SIDE, height: fixed(height), fill: inks[3] }));
    top += height + gap;
  }
  const disc = svg(
    'clipPath',
    { id: `${scope}-disc` },
    svg('circle', { cx: fixed(x), cy: fixed(y), r: fixed(r) }),
  );
  return [
    ...sky({ random, inks, scope }, [0, 1, 2]),
    disc,
    svg('g', { 'clip-path': `url(#${scope}-disc)` }, ...slices),
    svg('path', { d: below(wave(random, 150, 10)), fill: inks[1] }),
    svg('path', { d: below(wave(random, 170, 9)), fill: inks[0] }),
  ];
};

/** Ranges of peaks, the near ones dark. */
export const peaks: Design = (paint) => {
  const { random, inks } = paint;
  const shapes = [
    ...sky(paint, [3, 4, 4]),
    svg('circle', {
      cx: random.whole(40, 160),
      cy: random.whole(30, 62),
      r: random.whole(12, 22),
      fill: inks[4],
    }),
  ];
  [3, 2, 1, 0].forEach((ink, index) => {
    const d = jagged(paint, 84 + index * 28, 34 - index * 5);
    shapes.push(svg('path', { d, fill: inks[ink as 0 | 1 | 2 | 3] }));
  });
  return shapes;
};

/** Far hills drawn as threads, each hiding what lies behind, the near ones in warmer ink. */
export const ridges: Design = ({ random, inks }) => {
  const shapes = [ground(inks[0])];
  const threads = 13;
  for (let thread = 0; thread < threads; thread += 1) {
    const near = thread / (threads - 1);
    const swell = wave(random, 52 + near * 128, 4 + near * 7);
    const hills = [0, 1, 2].map(() =>
      hill(random.between(0, SIDE), random.between(6, 14 + near * 22), random.between(12, 26)),
    );
    const edge: Curve = (x) => swell(x) - hills.reduce((sum, one) => sum + one(x), 0);
    const stroke = inks[([4, 3, 2] as const)[Math.floor(near * 2.99)] ?? 2];
    shapes.push(
      svg('path', {
        d: below(edge),
        fill: inks[near > 0.66 ? 1 : 0],
        stroke,
        'stroke-width': fixed(1.2 + near * 1.6),
      }),
    );
  }
  return shapes;
};

/** Dunes with a lit and a shaded side. */
export const dunes: Design = (paint) => {
  const { random, inks, scope } = paint;
  const shapes = sky(paint, [4, 3, 3]);
  shapes.push(
    svg('circle', {
      cx: random.whole(40, 160),
      cy: random.whole(36, 60),
      r: random.whole(14, 20),
      fill: inks[2],
    }),
  );
  for (let index = 0; index < 4; index += 1) {
    const id = `${scope}-dune${index}`;
    const edge = wave(random, 92 + index * 29, 17);
    shapes.push(gradient(id, [inks[2], inks[1], inks[0]], random.chance(0.5)));
    shapes.push(svg('path', { d: below(edge), fill: `url(#${id})` }), hairline(edge, 0.8, inks[4]));
  }
  return shapes;
};

/** A moon, its stars and a horizon. */
export const night: Design = (paint) => {
  const { random, inks } = paint;
  const shapes = sky(paint, [0, 0, 1]);
  for (let star = 0; star < 70; star += 1) {
    const r = random.chance(0.12) ? random.between(1.1, 1.8) : random.between(0.35, 0.9);
    shapes.push(
      svg('circle', { cx: random.whole(2, 198), cy: random.whole(2, 150), r: fixed(r), fill: inks[4] }),
    );
  }
  const [x, y, r] = [random.whole(60, 140), random.whole(56, 84), random.whole(24, 38)];
  shapes.push(svg('circle', { cx: x, cy: y, r, fill: inks[3] }));
  shapes.push(svg('circle', { cx: x + r * 0.42, cy: y - r * 0.18, r: r * 0.86, fill: inks[0] }));
  shapes.push(svg('path', { d: jagged(paint, 152, 13), fill: inks[2] }));
  shapes.push(svg('path', { d: below(wave(random, 172, 7)), fill: inks[1] }));
  return shapes;
};

export function ground(fill: string): SVGElement {
  return svg('rect', { width: SIDE, height: SIDE, fill });
}

function sky({ inks, scope }: Paint, order: readonly [number, number, number]): SVGElement[] {
  const colours = order.map((ink) => inks[ink] ?? inks[0]);
  return [gradient(`${scope}-sky`, colours, false, true), ground(`url(#${scope}-sky)`)];
}

function gradient(id: string, colours: readonly string[], mirrored: boolean, upright = false): SVGElement {
  const ends = upright
    ? { x1: 0, y1: 0, x2: 0, y2: 1 }
    : { x1: mirrored ? 1 : 0, y1: 0, x2: mirrored ? 0 : 1, y2: 0.5 };
  const stops = colours.map((colour, index) =>
    svg('stop', { offset: fixed(index / (colours.length - 1)), 'stop-color': colour }),
  );
  return svg('linearGradient', { id, ...ends }, ...stops);
}

function hairline(edge: Curve, width: number, stroke: string): SVGElement {
  return svg('path', { d: line(edge), fill: 'none', stroke, 'stroke-width': width, 'stroke-opacity': 0.55 });
}

function jagged({ random }: Paint, level: number, height: number): string {
  let d = `M0 ${fixed(level + random.between(-height, height) / 2)}`;
  for (let x = 0; x < SIDE;) {
    x += random.between(12, 30);
    d += `L${fixed(Math.min(x, SIDE))} ${fixed(level + random.between(-height, height))}`;
  }
  return `${d}V${SIDE}H0Z`;
}

function hill(at: number, height: number, width: number): Curve {
  return (x) => height * Math.exp(-(((x - at) / width) ** 2));
}
