import { expect, it } from 'vitest';
import { appBytes, wholeBytes } from './size.mjs';

it('an app that only opens a stream ships under 28.2 KB gzipped, MQTT.js left out', async () => {
  expect(await appBytes()).toBeLessThan(28_200);
});

it('what an app does not import, it does not ship', async () => {
  const app = await appBytes();
  expect(await appBytes(['setOf'])).toBeGreaterThan(app);
  expect(await wholeBytes()).toBeGreaterThan(app);
});
