import { expect, it } from 'vitest';
import { appBytes, wholeBytes } from './size.mjs';

it('an app that only opens a stream ships under 27.8 KB gzipped, MQTT.js left out', async () => {
  expect(await appBytes()).toBeLessThan(27_800);
});

it('what an app does not import, it does not ship', async () => {
  const app = await appBytes();
  expect(await appBytes(['setOf'])).toBeGreaterThan(app);
  expect(await wholeBytes()).toBeGreaterThan(app);
});
