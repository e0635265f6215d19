import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Figures, tableOf } from './table.mjs';

test('medians, and what the last but one is to the last', () => {
  const figures = new Figures();
  for (const figure of [300_000, 900_000, 400_000]) figures.add('bytes', 'web', figure);
  for (const figure of [200_000, 100_000, 250_000]) figures.add('bytes', 'yjs', figure);
  figures.add('time', 'rust', 0.25);
  const titles = [
    { title: 'bytes', digits: 0 },
    { title: 'time', digits: 2 },
  ];
  const lines = tableOf(figures, titles, ['rust', 'web', 'yjs']).split('\n');
  assert.equal(lines[0], '|  | rust | web | yjs | web / yjs |');
  assert.equal(lines[2], '| bytes | - | 400,000 | 200,000 | 2.00 |');
  assert.equal(lines[3], '| time | 0.25 | - | - | - |');
});
