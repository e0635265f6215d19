import { svg } from '../dom.js';
import { ground } from './landscapes.js';
import { fixed, SIDE, type Design, type Paint } from './paint.js';

/** Rainbows of concentric arcs that stand on one another. */
export const arches: Design = ({ random, inks }) => {
  const shapes = [ground(inks[4])];
  const feet = [
    { x: random.between(30, 70), y: 130, r: random.between(58, 76) },
    { x: random.between(120, 170), y: 168, r: random.between(70, 92) },
    { x: random.between(36, 76), y: 206, r: random.between(60, 84) },
  ];
  for (const { x, y, r } of feet) {
    const bands = [0, 2, 3, 1, 4, 2] as const;
    bands.forEach((ink, index) => {
      const radius = r * (1 - index / bands.length);
      const d = `M${fixed(x - radius)} ${SIDE + 8}V${y}a${fixed(radius)} ${fixed(radius)} 0 0 1 ${fixed(radius * 2)} 0V${SIDE + 8}Z`;
      shapes.push(svg('path', { d, fill: inks[ink] }));
    });
  }
  return shapes;
};

/** Tiles of quarter, half and whole discs. */
export const tiles: Design = (paint) => {
  const { random, inks } = paint;
  const count = random.pick([3, 4, 4, 5]);
  const size = SIDE / count;
  const shapes = [ground(inks[4])];
  for (let row = 0; row < count; row += 1) {
    for (let column = 0; column < count; column += 1) {
      const place = `translate(${fixed(column * size)} ${fixed(row * size)})`;
      shapes.push(svg('g', { transform: place }, ...tile(paint, size)));
    }
  }
  return shapes;
};

/** Rings that drift away from one centre. */
export const rings: Design = ({ random, inks }) => {
  const [angle, drift] = [random.between(0, 6.3), random.between(1.4, 3.4)];
  const order = random.pick([
    [0, 4],
    [0, 3],
    [1, 4],
    [0, 2, 4, 3],
  ] as const);
  const shapes = [ground(inks[order[0]])];
  for (let index = 0; index < 15; index += 1) {
    const ink = order[(index + 1) % order.length] ?? 0;
    const [x, y] = [100 + Math.cos(angle) * drift * index, 100 + Math.sin(angle) * drift * index];
    shapes.push(svg('circle', { cx: fixed(x), cy: fixed(y), r: fixed(92 - index * 6), fill: inks[ink] }));
  }
  return shapes;
};

/** Slanted bars against a disc, as on a printed poster. */
export const poster: Design = ({ random, inks, scope }) => {
  const angle = random.pick([-45, -30, 30, 45]);
  const [x, y, r] = [random.between(70, 130), random.between(70, 130), random.between(44, 62)];
  const bars: SVGElement[] = [];
  for (let left = -120; left < 320;) {
    const width = random.between(7, 26);
    bars.push(svg('rect', { x: fixed(left), y: -120, width: fixed(width), height: 440 }));
    left += width + random.between(9, 22);
  }
  const turn = `rotate(${angle} 100 100)`;
  const round = { cx: fixed(x), cy: fixed(y), r: fixed(r) };
  return [
    ground(inks[4]),
    svg('g', { transform: turn, fill: inks[1] }, ...bars),
    svg('circle', { ...round, fill: inks[2] }),
    svg('clipPath', { id: `${scope}-disc` }, svg('circle', round)),
    svg(
      'g',
      { 'clip-path': `url(#${scope}-disc)` },
      svg('g', { transform: turn, fill: inks[3] }, ...bars.map((bar) => bar.cloneNode())),
    ),
  ];
};

/** Ribbons that go over and under. */
export const weave: Design = ({ random, inks }) => {
  const count = random.pick([5, 6, 7]);
  const pitch = SIDE / count;
  const width = pitch * random.between(0.66, 0.82);
  const across = Array.from({ length: count }, () => inks[random.pick([2, 3, 3])]);
  const down = Array.from({ length: count }, () => inks[random.pick([1, 4, 4])]);
  const shapes = [ground(inks[0])];
  const at = (index: number): number => index * pitch + (pitch - width) / 2;
  across.forEach((fill, row) =>
    shapes.push(svg('rect', { x: 0, y: fixed(at(row)), width: SIDE, height: fixed(width), fill })),
  );
  down.forEach((fill, column) => {
    for (let row = column % 2; row < count + 1; row += 2) {
      const box = {
        x: fixed(at(column)),
        y: fixed(at(row) - (pitch - width) - 0.4),
        width: fixed(width),
        height: fixed(2 * pitch - width + 0.8),
      };
      shapes.push(svg('rect', { ...box, fill }));
    }
  });
  return shapes;
};

/** Overlapping discs of translucent ink. */
export const discs: Design = ({ random, inks }) => {
  const shapes = [ground(inks[4])];
  const turn = random.between(0, 6.3);
  const count = random.pick([3, 4, 5]);
  for (let index = 0; index < count; index += 1) {
    const angle = turn + (index / count) * Math.PI * 2;
    const [x, y] = [100 + Math.cos(angle) * 34, 100 + Math.sin(angle) * 34];
    const fill = inks[([2, 3, 1] as const)[index % 3] ?? 2];
    shapes.push(
      svg('circle', { cx: fixed(x), cy: fixed(y), r: fixed(random.between(40, 58)), fill, class: 'blend' }),
    );
  }
  return shapes;
};

/** The phases of a moon, in rows. */
export const phases: Design = ({ random, inks }) => {
  const shapes = [ground(inks[0])];
  const count = 5;
  const start = random.whole(0, 24);
  for (let index = 0; index < count * count; index += 1) {
    const [x, y] = [24 + (index % count) * 38, 24 + Math.floor(index / count) * 38];
    shapes.push(svg('circle', { cx: x, cy: y, r: 14, fill: inks[1] }));
    const lit = ((index + start) % 25) / 25;
    const fill = index === 12 ? inks[2] : inks[3];
    shapes.push(svg('path', { d: crescent(x, y, 14, lit), fill }));
  }
  return shapes;
};

function tile({ random, inks }: Paint, size: number): SVGElement[] {
  const [back, front] = random.pick([
    [4, 2],
    [3, 1],
    [0, 3],
    [2, 4],
    [1, 4],
    [4, 0],
    [3, 0],
  ] as const);
  const square = svg('rect', { width: fixed(size + 0.3), height: fixed(size + 0.3), fill: inks[back] });
  const half = size / 2;
  const turn = `rotate(${random.whole(0, 3) * 90} ${fixed(half)} ${fixed(half)})`;
  const [s, r] = [fixed(size), fixed(half)];
  const d = random.pick([
    `M0 0H${s}A${s} ${s} 0 0 1 0 ${s}Z`,
    `M0 0H${s}A${s} ${s} 0 0 1 0 ${s}Z`,
    `M0 0A${r} ${r} 0 0 0 ${s} 0Z`,
    `M0 0A${s} ${s} 0 0 1 ${s} ${s}A${s} ${s} 0 0 1 0 0Z`,
    `M${r} 0A${r} ${r} 0 1 1 ${r} ${s}A${r} ${r} 0 1 1 ${r} 0Z`,
    `M0 0H${s}L0 ${s}Z`,
  ]);
  return [square, svg('path', { d, fill: inks[front], transform: turn })];
}

function crescent(x: number, y: number, r: number, phase: number): string {
  const waxing = phase < 0.5;
  const bulge = Math.cos(phase * Math.PI * 2) * r;
  const outer = waxing ? 1 : 0;
  const inner = bulge > 0 === waxing ? 0 : 1;
  return `M${x} ${y - r}A${r} ${r} 0 0 ${outer} ${x} ${y + r}A${fixed(Math.abs(bulge))} ${r} 0 0 ${inner} ${x} ${y - r}Z`;
}
