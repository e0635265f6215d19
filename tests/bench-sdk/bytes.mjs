import { setTimeout as pause } from 'node:timers/promises';
import { Profile, openBrowser } from '../browser/support/browser.mjs';
import { until } from '../browser/support/until.mjs';
import { CATCH_UP, COLD_JOIN, FIRST_RENDER } from './titles.mjs';

/** A link that says nothing for so long has said what there was to say: presence, awareness, acknowledgements. */
const QUIET_MS = 1_500;
const ONE_PERCENT = 100;

/** One group: filled by a writer, joined by a newcomer, left, changed by 1 %, opened without a network, and caught up with. */
export async function measureBytes({ name, front, writerFront, group, entries, tell }) {
  const browser = await openBrowser();
  const profile = await Profile.create();
  try {
    const writer = await pageOf(await browser.newContext(), writerFront);
    await writer.evaluate(([name, group]) => bench.open(name, group, { stored: false, online: true }), [name, group]);
    await writer.evaluate((pairs) => bench.put(pairs), pairsOf(entries, 1, 3));
    await isQuiet(writerFront);

    tell(COLD_JOIN, await bytesToAgree({ name, front, group, profile, writer }));

    await writer.evaluate((pairs) => bench.put(pairs), pairsOf(entries, ONE_PERCENT, 5));
    await isQuiet(writerFront);
    tell(FIRST_RENDER, await firstRender({ name, front, group, profile, entries }));
    tell(CATCH_UP, await bytesToAgree({ name, front, group, profile, writer }));
  } finally {
    await profile.remove();
    await browser.close();
  }
}

/** Bytes from opening a client until it has what the writer has and its link is quiet; then it is closed. */
async function bytesToAgree({ name, front, group, profile, writer }) {
  const before = front.bytes;
  const reader = await pageOf(await profile.open(), front);
  await reader.evaluate(([name, group]) => bench.open(name, group, { stored: true, online: true }), [name, group]);
  const wanted = await writer.evaluate(() => bench.summary());
  await until('the reader has what the writer has', async () => (await reader.evaluate(() => bench.summary())) === wanted);
  await isQuiet(front);
  const bytes = front.bytes - before;
  await reader.evaluate(() => bench.close());
  await profile.close();
  await isQuiet(front);
  return bytes;
}

async function firstRender({ name, front, group, profile, entries }) {
  const page = await pageOf(await profile.open(), front);
  const render = await page.evaluate(([name, group]) => bench.firstRender(name, group), [name, group]);
  await page.evaluate(() => bench.close());
  await profile.close();
  if (render.entries !== entries) throw new Error(`${name} showed ${render.entries} of ${entries} entries`);
  return render.milliseconds;
}

/** Every `step`-th key of the map, with a value. */
function pairsOf(entries, step, value) {
  const pairs = [];
  for (let at = 0; at < entries; at += step) pairs.push([`track-${String(at).padStart(5, '0')}`, value]);
  return pairs;
}

export async function pageOf(context, front) {
  const page = await context.newPage();
  await page.goto(front.address);
  await page.waitForFunction(() => globalThis.bench !== undefined);
  return page;
}

async function isQuiet(front) {
  let before;
  do {
    before = front.bytes;
    await pause(QUIET_MS);
  } while (front.bytes !== before);
}
