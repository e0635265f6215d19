import { expect, it } from 'vitest';
import { gzippedBytes } from './size.mjs';

it('stays under 33 KB gzipped, MQTT.js left out', async () => {
  expect(await gzippedBytes()).toBeLessThan(33_000);
});
