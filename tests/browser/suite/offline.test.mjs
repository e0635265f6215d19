import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Broker } from '../support/broker.mjs';
import { openBrowser, Profile } from '../support/browser.mjs';
import { Line } from '../support/line.mjs';
import { Watcher } from '../support/mosquitto.mjs';
import { Shelf } from '../support/shelf.mjs';
import { freshGroup, Stage } from '../support/stage.mjs';
import { until } from '../support/until.mjs';

const THREE = ['dune-logic', 'high-passes', 'whale-roads'];

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

async function open(group, port = broker.httpPort) {
  const context = windows.keep(await browser.newContext(), (it) => it.close());
  return Shelf.open(context, broker.page(group, { port }));
}

async function starThree(shelf) {
  for (const id of THREE) await shelf.albumStar(id).click();
  await shelf.pill(/^Offline, 3 waiting$/);
}

async function seesThree(shelf) {
  for (const id of THREE) await shelf.sees(shelf.albumStar(id));
}

/** What the stream holds in the end, as a stock client reads it from the beginning. */
async function assertStream(group, expected) {
  const watcher = windows.keep(new Watcher(broker, group), (it) => it.close());
  await until(`${expected.length} events`, () => watcher.events.length >= expected.length);
  const ids = watcher.events.map((event) => event.event_data.album_id);
  assert.deepEqual(ids, expected);
  assert.deepEqual(
    watcher.events.map((event) => event.seq),
    expected.map((_, index) => index + 1),
  );
}

test('g11_three_changes_on_a_cut_line_survive_the_end_of_the_browser_and_arrive_once', async () => {
  const group = freshGroup();
  const line = windows.keep(await Line.to(broker.httpPort), (it) => it.close());
  const profile = windows.keep(await Profile.create(), (it) => it.remove());
  const address = broker.page(group, { port: line.port });
  const other = await open(group);

  const here = await Shelf.open(await profile.open(), address);
  await here.isSaved();
  await here.isStored();
  line.set('cut');
  await here.pill(/^Offline/);
  await starThree(here);
  await profile.close();

  line.set('pages');
  const again = await Shelf.open(await profile.open(), address);
  await seesThree(again);
  await again.pill(/^(Offline|Connecting), 3 waiting$/);
  await other.sees(other.albumStar(THREE[0]), false);

  line.set('pass');
  await again.isSaved();
  await seesThree(other);
  await assertStream(group, THREE);
  again.assertNoProblems();
});

test('g11_a_page_closed_and_opened_again_in_the_same_browser_keeps_what_waited', async () => {
  const group = freshGroup();
  const line = windows.keep(await Line.to(broker.httpPort), (it) => it.close());
  const context = windows.keep(await browser.newContext(), (it) => it.close());
  const address = broker.page(group, { port: line.port });
  const here = await Shelf.open(context, address);
  await here.isSaved();
  await here.isStored();
  line.set('cut');
  await here.pill(/^Offline/);
  await starThree(here);
  await here.page.close();
  line.set('pass');
  const again = await Shelf.open(context, address);
  await again.isSaved();
  await seesThree(again);
  await assertStream(group, THREE);
});

test('g11_a_reload_while_the_line_is_cut_loses_and_repeats_nothing', async () => {
  const group = freshGroup();
  const line = windows.keep(await Line.to(broker.httpPort), (it) => it.close());
  const here = await open(group, line.port);
  await here.isSaved();
  await here.isStored();
  line.set('cut');
  await here.pill(/^Offline/);
  await starThree(here);
  line.set('pages');
  await here.page.reload();
  await seesThree(here);
  line.set('pass');
  await here.isSaved();
  await assertStream(group, THREE);
});

test('the offline switch keeps changes here until it is switched back', async () => {
  const group = freshGroup();
  const [here, there] = [await open(group), await open(group)];
  await Promise.all([here.isSaved(), there.isSaved()]);
  await here.page.locator('#offline').click();
  await here.pill(/^Offline$/);
  await here.page.locator('#offline[aria-checked="true"]').waitFor();
  await starThree(here);
  await there.albumStar('kiln').click();
  await there.isSaved();
  await there.sees(there.albumStar(THREE[0]), false);
  await here.sees(here.albumStar('kiln'), false);

  await here.page.locator('#offline').click();
  await here.isSaved();
  await here.sees(here.albumStar('kiln'));
  await seesThree(there);
  await assertStream(group, ['kiln', ...THREE]);
});

test('g12_the_page_recovers_alone_after_kill_9_of_the_broker', async () => {
  const group = freshGroup();
  const here = await open(group);
  await here.albumStar('nightjar').click();
  await here.isSaved();
  await here.markWindow();

  await broker.kill();
  await here.pill(/^Offline/);
  await starThree(here);
  await broker.launch();
  await here.isSaved();
  await here.assertNeverReloaded();
  await assertStream(group, ['nightjar', ...THREE]);
  const late = await open(group);
  await seesThree(late);
  await late.sees(late.albumStar('nightjar'));
});
