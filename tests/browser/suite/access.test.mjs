import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { Broker } from '../support/broker.mjs';
import { openBrowser } from '../support/browser.mjs';
import { Shelf } from '../support/shelf.mjs';
import { freshGroup, Stage } from '../support/stage.mjs';
import { scenes } from '../support/scenes.mjs';

const SCHEMES = ['light', 'dark'];
const SIZES = { desk: { width: 1360, height: 900 }, phone: { width: 390, height: 844 } };

const stage = new Stage();
let broker;
let browser;
let axe;

before(async () => {
  broker = stage.keep(await Broker.start(), (it) => it.stop());
  browser = stage.keep(await openBrowser(), (it) => it.close());
  axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
});
after(() => stage.clear());

/** What axe finds wrong, one line each. In the second colour scheme only colours can be wrong that were right in the first. */
async function violations(page, colorScheme) {
  await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
  const { violations: found } = await page.evaluate(
    (rules) => globalThis.axe.run({ resultTypes: ['violations'], ...(rules ? { runOnly: rules } : {}) }),
    colorScheme === SCHEMES[0] ? null : ['color-contrast'],
  );
  return found.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id} ${target}: ${failureSummary}`),
  );
}

/** SCREENSHOTS names a folder for pictures to look at. */
async function isAccessible(page, name) {
  for (const colorScheme of SCHEMES) {
    assert.deepEqual(await violations(page, colorScheme), [], `${name}, ${colorScheme}`);
    const folder = process.env.SCREENSHOTS;
    if (folder) await page.screenshot({ path: `${folder}/${name}-${colorScheme}.png` });
  }
}

for (const [size, viewport] of Object.entries(SIZES)) {
  test(`every view on a ${size} is accessible, in light and in dark`, async () => {
    const context = stage.keep(await browser.newContext({ viewport }), (it) => it.close());
    const shelf = await Shelf.open(context, broker.page(freshGroup(), { name: 'Kitchen' }));
    await shelf.isSaved();
    // By the debugger: the page's own policy would not let a foreign script in.
    await shelf.page.evaluate(axe);
    for (const [name, enter] of Object.entries(scenes)) {
      await enter(shelf);
      await isAccessible(shelf.page, `${size}-${name}`);
    }
  });

  test(`the page with two devices is accessible on a ${size}`, async () => {
    const context = stage.keep(await browser.newContext({ viewport }), (it) => it.close());
    const page = await context.newPage();
    await page.goto(broker.page(freshGroup()).replace('/?', '/split.html?'));
    const frames = [0, 1].map((at) => page.frameLocator('iframe').nth(at));
    for (const frame of frames) await frame.locator('#pill[data-state="saved"]').waitFor();
    await page.evaluate(axe);
    await isAccessible(page, `${size}-split`);
  });
}
