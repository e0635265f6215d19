import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Broker } from '../support/broker.mjs';
import { openBrowser } from '../support/browser.mjs';
import { publish, Watcher } from '../support/mosquitto.mjs';
import { Shelf } from '../support/shelf.mjs';
import { freshGroup, Stage } from '../support/stage.mjs';
import { until } from '../support/until.mjs';

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

/** A window in a context of its own, as on another machine. */
async function open(group, name) {
  const context = windows.keep(await browser.newContext(), (it) => it.close());
  return Shelf.open(context, broker.page(group, { name }));
}

test('a star in one window is seen in the other without a reload, with its author', async () => {
  const group = freshGroup();
  const [here, there] = [await open(group, 'Here'), await open(group, 'There')];
  await Promise.all([here.isSaved(), there.isSaved()]);
  await there.markWindow();

  await here.albumStar('paper-harbours').click();
  await there.sees(there.albumStar('paper-harbours'));
  await there.page.locator('.card.touched[data-id="paper-harbours"][data-by*="Here"]').waitFor();
  await there.page.locator('#log li.other', { hasText: 'Paper Harbours' }).waitFor();
  await here.page.locator('#log li.own', { hasText: 'Paper Harbours' }).waitFor();

  await there.albumStar('paper-harbours').click();
  await here.sees(here.albumStar('paper-harbours'), false);
  await there.assertNeverReloaded();
  here.assertNoProblems();
  there.assertNoProblems();
});

test('a star on a track is seen in the other window and in its starred view', async () => {
  const group = freshGroup();
  const [here, there] = [await open(group), await open(group)];
  await there.page.locator('#view-starred').click();
  await here.openAlbum('kiln');
  await here.trackStar('kiln.3').click();
  await there.sees(there.trackStar('kiln.3'));
  assert.equal(await there.page.locator('#starred-count').textContent(), '1');
});

test('g12_reload_and_a_new_window_show_what_was_saved', async () => {
  const group = freshGroup();
  const here = await open(group);
  await here.albumStar('nightjar').click();
  await here.isSaved();
  await here.page.reload();
  await here.sees(here.albumStar('nightjar'));
  await here.isSaved();
  const late = await open(group);
  await late.sees(late.albumStar('nightjar'));
});

test('mosquitto_pub turns the star in both windows, and mosquitto_sub sees what a window does', async () => {
  const group = freshGroup();
  const [here, there] = [await open(group), await open(group)];
  await Promise.all([here.isSaved(), there.isSaved()]);
  await publish(broker, group, { event_type: 'star_album', event_data: { album_id: 'loom' } });
  await Promise.all([here.sees(here.albumStar('loom')), there.sees(there.albumStar('loom'))]);

  const watcher = windows.keep(new Watcher(broker, group), (it) => it.close());
  await here.albumStar('loom').click();
  await there.sees(there.albumStar('loom'), false);
  await until('mosquitto_sub prints both events', () => watcher.events.length === 2);
  const seen = watcher.events.map((event) => [event.seq, event.event_type, event.event_data.album_id]);
  assert.deepEqual(seen, [
    [1, 'star_album', 'loom'],
    [2, 'unstar_album', 'loom'],
  ]);
});

test('presence: each window lists both devices and marks its own', async () => {
  const group = freshGroup();
  const [here, there] = [await open(group, 'Kitchen'), await open(group, 'Attic')];
  for (const [shelf, own, other] of [
    [here, 'Kitchen', 'Attic'],
    [there, 'Attic', 'Kitchen'],
  ]) {
    await shelf.page.locator('#devices li.online', { hasText: own }).locator('.badge').waitFor();
    await shelf.page.locator('#devices li.online', { hasText: other }).waitFor();
  }
  await there.page.close();
  await here.page.locator('#devices li.offline', { hasText: 'Attic' }).waitFor();
});

test('the second window that the page itself opens is a device of its own and agrees', async () => {
  const here = await open(freshGroup());
  await here.isSaved();
  const opening = here.page.context().waitForEvent('page');
  await here.page.locator('#second').click();
  const there = new Shelf(await opening);
  await there.isSaved();
  const online = here.page.locator('#devices li.online');
  await until('two devices are online', async () => (await online.count()) === 2);
  await there.albumStar('kiln').click();
  await here.sees(here.albumStar('kiln'));
  await here.page.locator('#log li.other', { hasText: 'Kiln' }).waitFor();
});

test('groups are apart: a star in one is not seen in another', async () => {
  const [one, other] = [await open(freshGroup()), await open(freshGroup())];
  await Promise.all([one.isSaved(), other.isSaved()]);
  await one.albumStar('kiln').click();
  await one.isSaved();
  await other.page.reload();
  await other.isSaved();
  await other.sees(other.albumStar('kiln'), false);
});

test('what other devices send never becomes markup', async () => {
  const group = freshGroup();
  const evil = '<img src=x onerror="alert(1)">';
  const here = await open(group);
  const there = await open(group, evil);
  await Promise.all([here.isSaved(), there.isSaved()]);
  await publish(broker, group, { event_type: 'star_album', event_data: { album_id: evil } });
  await publish(broker, group, { event_type: evil, event_data: [evil] });
  await publish(broker, group, { event_type: 'star_track', event_data: { track_id: `"]${evil}` } });
  await there.albumStar('sotto').click();
  await here.sees(here.albumStar('sotto'));
  await here.page.locator('#devices .name', { hasText: '<img' }).waitFor();
  await until('four events are listed', async () => (await here.page.locator('#log li').count()) === 4);
  assert.equal(await here.page.locator('img').count(), 0);
  here.assertNoProblems();
  there.assertNoProblems();
});
