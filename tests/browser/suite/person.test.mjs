import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Broker } from '../support/broker.mjs';
import { openBrowser } from '../support/browser.mjs';
import { publish } from '../support/mosquitto.mjs';
import { Shelf } from '../support/shelf.mjs';
import { freshGroup, Stage } from '../support/stage.mjs';

const TABS_MAX = 60;

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

async function open(options = {}, group = freshGroup()) {
  const context = windows.keep(await browser.newContext(options), (it) => it.close());
  return Shelf.open(context, broker.page(group));
}

/** Presses Tab until this has the focus, as a person without a mouse does. */
async function tabTo(shelf, wanted) {
  for (let pressed = 0; pressed < TABS_MAX; pressed += 1) {
    await shelf.page.keyboard.press('Tab');
    if (await wanted.evaluate((element) => element === document.activeElement)) return;
  }
  assert.fail(`not reached with ${TABS_MAX} presses of Tab`);
}

async function hasFocus(locator) {
  return locator.evaluate((element) => element === document.activeElement);
}

test('a star is reached with Tab and turned with Space and Enter, and the focus shows', async () => {
  const shelf = await open();
  const star = shelf.albumStar('lantern-year');
  await tabTo(shelf, star);
  const outline = await star.evaluate((element) => getComputedStyle(element).outlineStyle);
  assert.notEqual(outline, 'none');
  await shelf.page.keyboard.press('Space');
  await shelf.sees(star);
  await shelf.page.keyboard.press('Enter');
  await shelf.sees(star, false);
  assert.ok(await hasFocus(star));
});

test('an album opens with Enter, its tracks follow in the order of Tab, Escape closes it', async () => {
  const shelf = await open();
  const front = shelf.page.locator('.card[data-id="kiln"] .front');
  await front.focus();
  await shelf.page.keyboard.press('Enter');
  assert.equal(await front.getAttribute('aria-expanded'), 'true');
  const star = shelf.trackStar('kiln.2');
  await tabTo(shelf, star);
  await shelf.page.keyboard.press('Space');
  await shelf.sees(star);
  await shelf.page.keyboard.press('Escape');
  assert.equal(await shelf.page.locator('.opened').count(), 0);
  assert.ok(await hasFocus(front));
});

test('/ goes to the search, which finds albums, artists and tracks whatever their accents', async () => {
  const shelf = await open();
  await shelf.page.keyboard.press('/');
  const search = shelf.page.locator('#search');
  assert.ok(await hasFocus(search));
  assert.equal(await search.inputValue(), '');
  const shown = shelf.page.locator('.card:not([hidden])');
  for (const [text, album, track] of [
    ['AQUEDUCT', 'aqueduct', 'aqueduct.3'],
    ['societa ponte', 'aqueduct', null],
    ['ferryman', null, 'paper-harbours.3'],
    ['schlusselubergabe', null, 'bauplan.7'],
  ]) {
    await search.fill(text);
    assert.equal(await shown.count(), album ? 1 : 0, text);
    if (album) assert.equal(await shown.getAttribute('data-id'), album);
    if (track) await shelf.trackStar(track).waitFor();
  }
  await search.fill('no such thing');
  await shelf.page.locator('#empty', { hasText: 'Nothing found' }).waitFor();
});

test('arrow keys move among the covers', async () => {
  const shelf = await open();
  const fronts = shelf.page.locator('.card .front');
  await fronts.nth(0).focus();
  await shelf.page.keyboard.press('ArrowRight');
  assert.ok(await hasFocus(fronts.nth(1)));
  await shelf.page.keyboard.press('ArrowDown');
  await shelf.page.keyboard.press('ArrowUp');
  await shelf.page.keyboard.press('ArrowLeft');
  assert.ok(await hasFocus(fronts.nth(0)));
});

test('in the starred view the focus goes to the neighbour of what was unstarred', async () => {
  const shelf = await open();
  for (const id of ['kiln', 'loom']) await shelf.albumStar(id).click();
  await shelf.page.locator('#view-starred').click();
  await shelf.albumStar('kiln').focus();
  await shelf.page.keyboard.press('Space');
  await shelf.albumStar('kiln').waitFor({ state: 'hidden' });
  assert.ok(await hasFocus(shelf.albumStar('loom')));
});

test('no width makes the page scroll sideways, and the drawer opens and closes on a phone', async () => {
  const shelf = await open();
  for (const width of [320, 390, 768, 1088, 1440, 2200]) {
    await shelf.page.setViewportSize({ width, height: 800 });
    const spare = await shelf.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(spare <= 0, `${spare} too wide at ${width}`);
  }
  await shelf.page.setViewportSize({ width: 390, height: 800 });
  const panel = shelf.page.locator('#panel');
  await panel.waitFor({ state: 'hidden' });
  await shelf.page.locator('#pill').click();
  await panel.waitFor();
  assert.ok(await hasFocus(shelf.page.locator('#offline')));
  await shelf.page.keyboard.press('Escape');
  await panel.waitFor({ state: 'hidden' });
  assert.ok(await hasFocus(shelf.page.locator('#pill')));
});

test('dark and light follow the system until the person chooses, and the choice is kept', async () => {
  const shelf = await open({ colorScheme: 'dark' });
  const theme = () => shelf.page.evaluate(() => document.documentElement.dataset.theme);
  assert.equal(await theme(), 'dark');
  await shelf.page.locator('#theme').click();
  assert.equal(await theme(), 'light');
  await shelf.page.reload();
  assert.equal(await theme(), 'light');
});

test('with reduced motion nothing moves, and the change of another is still shown', async () => {
  const group = freshGroup();
  const shelf = await open({ reducedMotion: 'reduce' }, group);
  await shelf.isSaved();
  await publish(broker, group, { event_type: 'star_album', event_data: { album_id: 'kiln' } });
  await shelf.page.locator('.card.touched[data-id="kiln"]').waitFor();
  assert.equal(await shelf.page.evaluate(() => document.getAnimations().length), 0);
});
