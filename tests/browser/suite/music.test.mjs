import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Broker } from '../support/broker.mjs';
import { openBrowser } from '../support/browser.mjs';
import { publish } from '../support/mosquitto.mjs';
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

/** A window in a context of its own, with an album opened. */
async function open(group, name) {
  const context = windows.keep(await browser.newContext(), (it) => it.close());
  const shelf = await Shelf.open(context, broker.page(group, { name }));
  await shelf.isSaved();
  await shelf.openAlbum('kiln');
  return shelf;
}

async function openBoth() {
  const group = freshGroup();
  return Promise.all([open(group, 'Kitchen'), open(group, 'Attic')]);
}

test('a rating is the same in two windows, after a reload, and by the keyboard', async () => {
  const [here, there] = await openBoth();
  await here.rating('kiln.2').fill('4');
  await there.rates('kiln.2', 4);
  await there.rating('kiln.2').focus();
  await there.page.keyboard.press('ArrowLeft');
  await here.rates('kiln.2', 3);
  await there.page.keyboard.press('Home');
  await here.rates('kiln.2', 0);
  assert.equal(await here.rating('kiln.2').getAttribute('aria-valuetext'), 'not rated');
  await here.rating('kiln.2').fill('5');
  await here.isSaved();
  await here.page.reload();
  await here.openAlbum('kiln');
  await here.rates('kiln.2', 5);
  here.assertNoProblems();
  there.assertNoProblems();
});

test('state_10_plays_that_were_counted_offline_add_up', async () => {
  const [here, there] = await openBoth();
  for (const shelf of [here, there]) {
    await shelf.goOffline();
    for (let plays = 0; plays < 2; plays += 1) await shelf.play('kiln.1').click();
    await shelf.played('kiln.1', 2);
    await shelf.pill(/^Offline, 2 waiting$/);
  }
  for (const shelf of [here, there]) await shelf.goOnline();
  for (const shelf of [here, there]) await shelf.played('kiln.1', 4);
  await here.isSaved();
  await here.page.reload();
  await here.openAlbum('kiln');
  await here.played('kiln.1', 4);
});

test('state_8_two_notes_at_once_are_both_shown_with_their_authors_until_one_is_kept', async () => {
  const [here, there] = await openBoth();
  for (const shelf of [here, there]) await shelf.goOffline();
  await here.writeNote('Best on a rainy day');
  await there.writeNote('Lend it to Ada');
  for (const shelf of [here, there]) await shelf.goOnline();
  for (const shelf of [here, there]) await shelf.noteConflict().waitFor();
  const choices = await here.noteConflict().locator('li').allTextContents();
  assert.equal(choices.length, 2);
  assert.match(choices.join(' '), /Best on a rainy day.*this window|this window.*Best on a rainy day/s);
  assert.match(choices.join(' '), /Attic/);

  await here.noteConflict().locator('li', { hasText: 'Lend it to Ada' }).locator('.keep').click();
  for (const shelf of [here, there]) await shelf.noteConflict().waitFor({ state: 'hidden' });
  for (const shelf of [here, there]) await shelf.hasNote('Lend it to Ada');
  await here.isSaved();
  await here.page.reload();
  await here.openAlbum('kiln');
  await here.hasNote('Lend it to Ada');
  assert.equal(await here.noteConflict().isVisible(), false);
  here.assertNoProblems();
  there.assertNoProblems();
});

test('a note that somebody is typing is not taken away by another one', async () => {
  const [here, there] = await openBoth();
  await here.noteField().fill('Half a sentence');
  await there.writeNote('Whole one');
  await here.page.locator('#log li.other', { hasText: 'Kiln' }).waitFor();
  assert.equal(await here.noteField().inputValue(), 'Half a sentence');
  await here.writeNote('Half a sentence, and the rest');
  await there.hasNote('Half a sentence, and the rest');
});

test('what other devices write never becomes markup, and odd values do no harm', async () => {
  const group = freshGroup();
  const here = await open(group);
  const evil = '<img src=x onerror="alert(1)">';
  const note = { album_id: 'kiln', text: evil };
  await publish(broker, group, { event_type: 'write_note', event_data: note, base_seq: 0 });
  await publish(broker, group, { event_type: 'write_note', event_data: { ...note, text: ['x'] }, base_seq: 0 });
  await publish(broker, group, { event_type: 'rate_track', event_data: { track_id: 'kiln.1', rating: 'x' } });
  await publish(broker, group, { event_type: 'rate_track', event_data: { track_id: 'kiln.2', rating: 99 } });
  await here.rates('kiln.2', 5);
  await until('four events are listed', async () => (await here.page.locator('#log li').count()) === 4);
  await here.rates('kiln.1', 0);
  assert.equal(await here.page.locator('img').count(), 0);
  here.assertNoProblems();
});
