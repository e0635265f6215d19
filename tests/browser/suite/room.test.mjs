import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Broker } from '../support/broker.mjs';
import { openBrowser } from '../support/browser.mjs';
import { Shelf } from '../support/shelf.mjs';
import { freshGroup, Stage } from '../support/stage.mjs';

const stage = new Stage();
const windows = new Stage();
let broker;
let browser;

before(async () => {
  broker = stage.keep(await Broker.start(), (it) => it.stop());
  browser = stage.keep(await openBrowser(), (it) => it.close());
});
afterEach(() => windows.clear());
after(() => stage.clear());

async function open(group, name) {
  const context = windows.keep(await browser.newContext(), (it) => it.close());
  const shelf = await Shelf.open(context, broker.page(group, { name }));
  await shelf.isSaved();
  return shelf;
}

/** Two windows in the room, where the tracks of an album are queued. */
async function inTheRoom(tracks) {
  const group = freshGroup();
  const [here, there] = await Promise.all([open(group, 'Kitchen'), open(group, 'Attic')]);
  await here.openAlbum('kiln');
  for (const track of tracks) await here.page.locator(`.queue[data-id="${track}"]`).click();
  for (const shelf of [here, there]) {
    await shelf.enterRoom();
    await shelf.queues(tracks);
  }
  return [here, there];
}

test('list_1 the queue has the same order in two windows, whoever moves what', async () => {
  const [here, there] = await inTheRoom(['kiln.1', 'kiln.2', 'kiln.3', 'kiln.4']);
  await there.queued('kiln.4').locator('.move').first().click();
  for (const shelf of [here, there]) await shelf.queues(['kiln.1', 'kiln.2', 'kiln.4', 'kiln.3']);
  await here.queued('kiln.1').locator('.move').last().click();
  for (const shelf of [here, there]) await shelf.queues(['kiln.2', 'kiln.1', 'kiln.4', 'kiln.3']);
  await there.queued('kiln.1').locator('.take').click();
  for (const shelf of [here, there]) await shelf.queues(['kiln.2', 'kiln.4', 'kiln.3']);
  await here.queued('kiln.4').locator('.move').first().click();
  for (const shelf of [here, there]) await shelf.queues(['kiln.4', 'kiln.2', 'kiln.3']);
  here.assertNoProblems();
  there.assertNoProblems();
});

test('what is queued and moved offline comes together, and a reload keeps all', async () => {
  const [here, there] = await inTheRoom(['kiln.1', 'kiln.2']);
  await there.goOffline();
  await there.queued('kiln.2').locator('.move').first().click();
  await there.queues(['kiln.2', 'kiln.1']);
  await there.pill(/^Offline, 1 waiting$/);
  await here.page.locator('#view-all').click();
  await here.page.locator('.queue[data-id="kiln.3"]').click();
  await here.enterRoom();
  await here.queues(['kiln.1', 'kiln.2', 'kiln.3']);
  await there.goOnline();
  for (const shelf of [here, there]) await shelf.queues(['kiln.2', 'kiln.1', 'kiln.3']);
  for (const shelf of [here, there]) await shelf.isSaved();
  await there.page.reload();
  await there.enterRoom();
  await there.queues(['kiln.2', 'kiln.1', 'kiln.3']);
});

test('the next track: the first goes everywhere, and counts as played in the library', async () => {
  const [here, there] = await inTheRoom(['kiln.5', 'kiln.6']);
  await here.page.locator('#next').click();
  for (const shelf of [here, there]) await shelf.queues(['kiln.6']);
  await there.page.locator('#view-all').click();
  await there.openAlbum('kiln');
  await there.played('kiln.5', 1);
});

test('who listens is told in the room, and not among the devices', async () => {
  const [here, there] = await inTheRoom(['kiln.1']);
  await here.page.locator('#listeners', { hasText: 'Attic' }).waitFor();
  await there.page.locator('#listeners', { hasText: 'Kitchen' }).waitFor();
  assert.equal(await here.page.locator('#devices li').count(), 2);
  await there.page.close();
  await here.page.locator('#listeners', { hasText: 'Listening: this window' }).waitFor();
});

test('the keyboard moves an item and stays on it', async () => {
  const [here] = await inTheRoom(['kiln.1', 'kiln.2', 'kiln.3']);
  const up = here.queued('kiln.3').locator('.move').first();
  await up.focus();
  await here.page.keyboard.press('Enter');
  await here.queues(['kiln.1', 'kiln.3', 'kiln.2']);
  assert.ok(await up.evaluate((element) => element === document.activeElement));
  await here.page.keyboard.press('Enter');
  await here.queues(['kiln.3', 'kiln.1', 'kiln.2']);
  assert.equal(await up.getAttribute('aria-disabled'), 'true');
  await here.queued('kiln.3').locator('.take').focus();
  await here.page.keyboard.press('Enter');
  await here.queues(['kiln.1', 'kiln.2']);
  const focused = await here.page.evaluate(() => document.activeElement?.closest('li')?.dataset.track);
  assert.equal(focused, 'kiln.1');
});
