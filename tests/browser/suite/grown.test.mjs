import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Broker } from '../support/broker.mjs';
import { openBrowser } from '../support/browser.mjs';
import { Shelf } from '../support/shelf.mjs';
import { freshGroup, Stage } from '../support/stage.mjs';
import { until } from '../support/until.mjs';

const LIST = 'on-the-road';
const THREE = ['kiln.1', 'kiln.2', 'kiln.3'];

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

async function openBoth() {
  const group = freshGroup();
  return Promise.all([open(group, 'Kitchen'), open(group, 'Attic')]);
}

/** Two windows at the playlists, one of which has three tracks. */
async function atTheLists() {
  const both = await openBoth();
  const [here] = both;
  await here.openAlbum('kiln');
  for (const track of THREE) await here.putInto(track, LIST);
  for (const shelf of both) {
    await shelf.page.locator('#view-lists').click();
    await shelf.lists(LIST, THREE);
  }
  return both;
}

test('list_1 a track is dragged by its handle, and the other window has the same order', async () => {
  const [here, there] = await atTheLists();
  await here.drag(here.listed(LIST, 'kiln.3'), here.listed(LIST, 'kiln.1'));
  for (const shelf of [here, there]) await shelf.lists(LIST, ['kiln.3', 'kiln.1', 'kiln.2']);
  await there.drag(there.listed(LIST, 'kiln.3'), there.listed(LIST, 'kiln.2'));
  for (const shelf of [here, there]) await shelf.lists(LIST, ['kiln.1', 'kiln.2', 'kiln.3']);
  for (const shelf of [here, there]) shelf.assertNoProblems();
});

test('the arrow keys on a handle move its track, keep the focus and say where it is', async () => {
  const [here, there] = await atTheLists();
  const grip = here.listed(LIST, 'kiln.1').locator('.grip');
  await grip.focus();
  await here.page.keyboard.press('ArrowDown');
  for (const shelf of [here, there]) await shelf.lists(LIST, ['kiln.2', 'kiln.1', 'kiln.3']);
  assert.ok(await grip.evaluate((element) => element === document.activeElement));
  assert.match(await here.page.locator('#said').textContent(), /: 2 of 3$/);
  await here.page.keyboard.press('ArrowUp');
  await there.lists(LIST, THREE);
});

test('what another window moves during a drag shows when the row is let go, and Escape drops nothing', async () => {
  const [here, there] = await atTheLists();
  await here.lift(here.listed(LIST, 'kiln.1'), here.listed(LIST, 'kiln.3'));
  await there.listed(LIST, 'kiln.2').locator('.take').click();
  await here.page.locator('#log li.other').first().waitFor();
  assert.equal(await here.listed(LIST, 'kiln.2').count(), 1);
  await here.page.keyboard.press('Escape');
  for (const shelf of [here, there]) await shelf.lists(LIST, ['kiln.1', 'kiln.3']);
  await here.page.mouse.up();
});

test('undo_2 what was moved, rated and starred is taken back and done again, by button and by key', async () => {
  const [here, there] = await atTheLists();
  await here.drag(here.listed(LIST, 'kiln.3'), here.listed(LIST, 'kiln.1'));
  await there.lists(LIST, ['kiln.3', 'kiln.1', 'kiln.2']);
  await here.page.locator('#undo').click();
  await there.lists(LIST, THREE);
  await here.page.locator('#redo').click();
  await there.lists(LIST, ['kiln.3', 'kiln.1', 'kiln.2']);

  await here.page.locator('#view-all').click();
  await here.albumStar('loom').click();
  await there.page.locator('#view-all').click();
  await there.sees(there.albumStar('loom'));
  await here.page.keyboard.press('Control+z');
  await there.sees(there.albumStar('loom'), false);
  await here.page.keyboard.press('Control+Shift+Z');
  await there.sees(there.albumStar('loom'));
});

test('undo_3 what somebody else has changed since stays, and the person is told', async () => {
  const [here, there] = await openBoth();
  await here.albumStar('loom').click();
  await there.sees(there.albumStar('loom'));
  await there.albumStar('loom').click();
  await here.sees(here.albumStar('loom'), false);
  await here.page.locator('#undo').click();
  await here.page.locator('.notice', { hasText: 'Somebody has changed that since' }).waitFor();
  await here.sees(here.albumStar('loom'), false);
});

test('view_7 the slider shows the library as it was, where nothing can be changed, and goes back to now', async () => {
  const [here, there] = await openBoth();
  for (const id of ['kiln', 'loom']) {
    await here.albumStar(id).click();
    await here.isSaved();
  }
  await there.sees(there.albumStar('loom'));
  await there.page.locator('#history').click();
  const slider = there.page.locator('#moment');
  await until('the slider has two events', async () => (await slider.getAttribute('max')) === '2');
  await slider.focus();
  await there.page.keyboard.press('ArrowLeft');
  await there.sees(there.albumStar('loom'), false);
  await there.sees(there.albumStar('kiln'));
  assert.match(await slider.getAttribute('aria-valuetext'), /★ Kiln · Kitchen/);
  await there.page.keyboard.press('Home');
  await there.sees(there.albumStar('kiln'), false);

  await there.albumStar('kiln').click();
  await there.page.locator('.notice', { hasText: 'This is how it was' }).waitFor();
  await here.albumStar('nightjar').click();
  await until('the slider has three events', async () => (await slider.getAttribute('max')) === '3');
  await there.sees(there.albumStar('nightjar'), false);
  await there.page.locator('#history-now').click();
  for (const id of ['kiln', 'loom', 'nightjar']) await there.sees(there.albumStar(id));
  there.assertNoProblems();
});

test('g11_airplane mode counts what waits, is the same switch twice, and lets it go when it ends', async () => {
  const [here, there] = await openBoth();
  const airplane = here.page.locator('#airplane');
  await airplane.click();
  await here.pill(/^Offline$/);
  assert.equal(await here.page.locator('#offline').getAttribute('aria-checked'), 'true');
  for (const id of ['kiln', 'loom']) await here.albumStar(id).click();
  await here.pill(/^Offline, 2 waiting$/);
  await here.page.locator('#history').click();
  await here.page.locator('.notice', { hasText: 'once this window is online' }).waitFor();
  await there.sees(there.albumStar('kiln'), false);
  await airplane.click();
  await here.isSaved();
  for (const id of ['kiln', 'loom']) await there.sees(there.albumStar(id));
});

test('state_8 notes written at once are marked on the shelf, stand side by side, and can all be kept', async () => {
  const [here, there] = await openBoth();
  for (const shelf of [here, there]) {
    await shelf.openAlbum('kiln');
    await shelf.page.locator('#airplane').click();
    await shelf.pill(/^Offline$/);
  }
  await here.writeNote('Best on a rainy day');
  await there.writeNote('Lend it to Ada');
  for (const shelf of [here, there]) {
    await shelf.pill(/waiting$/);
    await shelf.page.locator('#airplane').click();
  }
  for (const shelf of [here, there]) await shelf.page.locator('.clash[data-album="kiln"]').waitFor();
  const boxes = await here.noteConflict().locator('li').evaluateAll(boxesOf);
  assert.equal(boxes.length, 2);
  assert.equal(boxes[0].top, boxes[1].top, 'side by side');
  assert.notEqual(boxes[0].left, boxes[1].left);
  await there.noteConflict().locator('.both').click();
  for (const shelf of [here, there]) await shelf.noteConflict().waitFor({ state: 'hidden' });
  await until('both notes are there', async () => {
    const text = await here.noteField().inputValue();
    return text.split('\n').sort().join() === 'Best on a rainy day,Lend it to Ada';
  });
  await here.page.locator('.clash[data-album="kiln"]').waitFor({ state: 'hidden' });
});

/** Runs in the page. */
function boxesOf(elements) {
  return elements.map((element) => {
    const { top, left } = element.getBoundingClientRect();
    return { top, left };
  });
}

test('presence_1 a window gets another name, which the others see, and keeps it over a reload', async () => {
  const [here, there] = await openBoth();
  const named = (name) => there.page.locator('#devices .name', { hasText: name });
  await named('Kitchen').waitFor();
  await here.page.locator('#own-name').fill('  Garden shed ');
  await here.page.keyboard.press('Enter');
  await named('Garden shed').waitFor();
  assert.equal(await named('Kitchen').count(), 0);
  await here.page.reload();
  await here.isSaved();
  assert.equal(await here.page.locator('#own-name').inputValue(), 'Garden shed');
  await named('Garden shed').waitFor();
});

test('two devices on one page: each has its own line, and what one does shows in the other', async () => {
  const context = windows.keep(await browser.newContext(), (it) => it.close());
  const page = await context.newPage();
  await page.setViewportSize({ width: 1400, height: 900 });
  await page.goto(broker.page(freshGroup()).replace('/?', '/split.html?'));
  const [left, right] = [0, 1].map((at) => page.frameLocator('iframe').nth(at));
  const saved = (frame) => frame.locator('#pill[data-state="saved"]').waitFor();
  const star = (frame, pressed) => frame.locator(`.card[data-id="kiln"] .star[aria-pressed="${pressed}"]`);
  for (const frame of [left, right]) await saved(frame);
  await left.locator('#airplane').click();
  await left.locator('#pill[data-state="offline"]').waitFor();
  await star(right, false).click();
  await star(right, true).waitFor();
  await saved(right);
  assert.equal(await star(left, true).count(), 0);
  await left.locator('#airplane').click();
  await star(left, true).waitFor();
  await page.reload();
  for (const frame of [left, right]) await star(frame, true).waitFor();
});
