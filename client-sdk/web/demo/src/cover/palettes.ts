/** Five inks, from the darkest to the lightest. */
export type Palette = readonly [string, string, string, string, string];

export const palettes = {
  ember: ['#2b1321', '#7a1f3d', '#d8433b', '#f59a4a', '#fbe3b9'],
  tide: ['#0b2239', '#14506b', '#2a9d8f', '#8fd3c1', '#f1efe0'],
  dusk: ['#1f1b3a', '#4b3b7c', '#a75d8f', '#f29c8c', '#fde2c8'],
  moss: ['#1d2b1f', '#40573a', '#7f9a4e', '#c9cf83', '#f4efd6'],
  clay: ['#3a1f18', '#8c4a32', '#cc7a4d', '#e8b88a', '#f7ead7'],
  slate: ['#14171d', '#2f3948', '#68788e', '#b9c4cf', '#f3f1ea'],
  citrus: ['#20302b', '#d9482b', '#f3a712', '#a8c686', '#fdf6e3'],
  coast: ['#16324f', '#2a628f', '#e6a15c', '#f4d9a9', '#fbf6ea'],
  orchid: ['#2d1236', '#6b2d73', '#b657a0', '#f0a6ca', '#fceef5'],
  signal: ['#101935', '#3a5ba0', '#f25c54', '#f7b267', '#f7f4ea'],
  mint: ['#0f2f2e', '#1f6f64', '#6fc3a5', '#f4c7ab', '#fef5ec'],
  rust: ['#241a17', '#5c2a1d', '#a63d25', '#d68c45', '#f2e3bc'],
  glacier: ['#13293d', '#246a8c', '#5fb0c9', '#b9dfe6', '#f4f9f9'],
  plum: ['#1a1423', '#45304f', '#84495f', '#c98a6b', '#f0d3ac'],
  lagoon: ['#072a40', '#0f6b7a', '#33b6a6', '#f6d55c', '#fbf3da'],
  noir: ['#0d0d0f', '#2a282f', '#b3202c', '#d9d4c7', '#f3efe4'],
} as const satisfies Record<string, Palette>;

export type PaletteName = keyof typeof palettes;
