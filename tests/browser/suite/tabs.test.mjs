/** All tabs of a browser as one device (WEB-16, WEB-17): what doubles of locks and frozen pages cannot show. */
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Broker } from '../support/broker.mjs';
import { openBrowser } from '../support/browser.mjs';
import { Watcher } from '../support/mosquitto.mjs';
import { Shelf } from '../support/shelf.mjs';
import { freshGroup, Stage } from '../support/stage.mjs';
import { until } from '../support/until.mjs';

const ALBUMS = ['dune-logic', 'high-passes', 'whale-roads', 'kiln', 'loom', 'nightjar'];

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

/** Some tabs of one browser, one device together; the first one leads. */
async function openTabs(group, count) {
  const context = windows.keep(await browser.newContext(), (it) => it.close());
  const tabs = [];
  for (let i = 0; i < count; i++) tabs.push(await Shelf.open(context, `${broker.page(group)}&tabs=one`));
  for (const tab of tabs) await tab.isSaved();
  return tabs;
}

async function star(tab, album) {
  await tab.albumStar(album).click();
  await tab.sees(tab.albumStar(album));
}

async function allSee(tabs, albums) {
  for (const tab of tabs) for (const album of albums) await tab.sees(tab.albumStar(album));
}

/** Each album was starred once, in this order unless it is not to be known, and all by one device. */
async function assertStarredOnce(group, albums, { inOrder = true } = {}) {
  const watcher = windows.keep(new Watcher(broker, group), (it) => it.close());
  await until(`${albums.length} events`, () => watcher.events.length >= albums.length);
  const starred = watcher.events.map(({ event_data }) => event_data.album_id);
  assert.deepEqual(inOrder ? starred : starred.toSorted(), inOrder ? albums : albums.toSorted());
  assert.equal(new Set(watcher.events.map(({ device_uuid }) => device_uuid)).size, 1, 'one device');
}

test('web_16_all_tabs_of_a_browser_are_one_device', async () => {
  const group = freshGroup();
  const tabs = await openTabs(group, 3);
  for (const [i, tab] of tabs.entries()) await star(tab, ALBUMS[i]);
  await allSee(tabs, ALBUMS.slice(0, 3));
  await assertStarredOnce(group, ALBUMS.slice(0, 3));
  for (const tab of tabs) tab.assertNoProblems();
});

test('web_17_the_crash_of_the_tab_that_leads_loses_and_stops_nothing', async () => {
  const group = freshGroup();
  const [leader, ...others] = await openTabs(group, 3);
  await star(others[0], ALBUMS[0]);
  const crashed = leader.page.waitForEvent('crash');
  const devtools = await leader.page.context().newCDPSession(leader.page);
  devtools.send('Page.crash').catch(() => undefined);
  await others[0].albumStar(ALBUMS[1]).click();
  await others[1].albumStar(ALBUMS[2]).click();
  await crashed;
  await allSee(others, ALBUMS.slice(0, 3));
  for (const tab of others) await tab.isSaved();
  await star(others[1], ALBUMS[3]);
  await others[1].isSaved();
  await assertStarredOnce(group, ALBUMS.slice(0, 4), { inOrder: false });
});

test('web_17_a_frozen_tab_that_leads_is_taken_the_lead_from_and_follows_when_it_comes_to', async () => {
  const group = freshGroup();
  const tabs = await openTabs(group, 3);
  const [leader, ...others] = tabs;
  await star(leader, ALBUMS[0]);
  // A transaction that the debugger stops half-way would hold those of the others up.
  for (const tab of tabs) await tab.isSaved();
  // By the debugger: a page that holds a lock goes on running where the browser is asked to freeze it.
  const devtools = await leader.page.context().newCDPSession(leader.page);
  await devtools.send('Debugger.enable');
  const frozen = new Promise((resolve) => devtools.once('Debugger.paused', resolve));
  await devtools.send('Debugger.pause');
  await frozen;
  await star(others[0], ALBUMS[1]);
  await star(others[1], ALBUMS[2]);
  for (const tab of others) await tab.isSaved();
  await devtools.send('Debugger.resume');
  await devtools.send('Debugger.disable');
  await allSee(tabs, ALBUMS.slice(0, 3));
  await star(leader, ALBUMS[3]);
  await allSee(tabs, ALBUMS.slice(0, 4));
  for (const tab of tabs) await tab.isSaved();
  await assertStarredOnce(group, ALBUMS.slice(0, 4));
  for (const tab of tabs) tab.assertNoProblems();
});

test('web_17_a_storm_of_reloads_loses_and_doubles_nothing', async () => {
  const group = freshGroup();
  const tabs = await openTabs(group, 3);
  for (const [i, album] of ALBUMS.entries()) {
    const tab = tabs[i % tabs.length];
    await star(tab, album);
    // What is shown is kept a moment later, and only what is kept is promised.
    await tab.isKept(album);
    await Promise.all(tabs.map(({ page }) => page.reload()));
    for (const { page } of tabs) await page.locator('.card').first().waitFor();
  }
  await allSee(tabs, ALBUMS);
  for (const tab of tabs) await tab.isSaved();
  await assertStarredOnce(group, ALBUMS);
});
