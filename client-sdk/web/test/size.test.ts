import { expect, it } from 'vitest';
import { gzippedBytes } from './size.mjs';

it('stays under 28 KB gzipped, MQTT.js left out', async () => {
  expect(await gzippedBytes()).toBeLessThan(28_000);
});
