import { Profile } from '../browser/support/browser.mjs';
import { pageOf } from './bytes.mjs';
import { median } from './table.mjs';
import { ENQUEUE_EMPTY, ENQUEUE_LONG } from './titles.mjs';

const SAMPLES = 100;
const LONG = 3_000;

/** A device that knows the schema goes offline: what a change costs until it is durable, with an empty and with a long outbox. */
export async function measureDevice({ name, front, group, tell }) {
  const profile = await Profile.create();
  try {
    const page = await pageOf(await profile.open(), front);
    await page.evaluate(([name, group]) => bench.open(name, group, { stored: true, online: true }), [name, group]);
    const pending = await page.evaluate(() => bench.goOffline());
    if (pending !== 0) throw new Error(`${pending} changes wait already`);
    tell(ENQUEUE_EMPTY, median(await page.evaluate((count) => bench.enqueue(0, count), SAMPLES)));
    const waiting = await page.evaluate((upTo) => bench.fill(upTo), LONG);
    if (waiting !== LONG) throw new Error(`${waiting} changes wait, not ${LONG}`);
    tell(ENQUEUE_LONG, median(await page.evaluate((count) => bench.enqueue(10_000, count), SAMPLES)));
    await page.evaluate(() => bench.close());
  } finally {
    await profile.remove();
  }
}
