import assert from 'node:assert/strict';
import { until } from './until.mjs';

const DEADLINE_MS = 15_000;

/** The demo in one window, in the words of the person before it. */
export class Shelf {
  /** What went wrong in the page: exceptions, dialogs, breaches of the content security policy. */
  #problems = [];

  constructor(page) {
    this.page = page;
    page.setDefaultTimeout(DEADLINE_MS);
    page.on('pageerror', (problem) => this.#problems.push(String(problem)));
    page.on('console', (message) => {
      if (/Content.Security.Policy/i.test(message.text())) this.#problems.push(message.text());
    });
    page.on('dialog', (dialog) => {
      this.#problems.push(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
  }

  /** Opens the page in a fresh tab of a context and waits for its covers. */
  static async open(context, address) {
    const shelf = new Shelf(await context.newPage());
    await shelf.page.goto(address);
    await shelf.page.locator('.card').first().waitFor();
    return shelf;
  }

  albumStar(id) {
    return this.page.locator(`.card[data-id="${id}"] .star`);
  }

  trackStar(id) {
    return this.page.locator(`.row[data-id="${id}"] .star`);
  }

  /** Shows an album's tracks. */
  async openAlbum(id) {
    await this.page.locator(`.card[data-id="${id}"] .front`).click();
    await this.page.locator('.opened').waitFor();
  }

  /** Waits until a star is pressed, or not. */
  async sees(star, pressed = true) {
    await star.and(this.page.locator(`[aria-pressed="${pressed}"]`)).waitFor();
  }

  /** Waits until the pill says this. */
  async pill(text) {
    await this.page.locator('#pill-label', { hasText: text }).waitFor();
  }

  async isSaved() {
    await this.pill(/^Saved$/);
  }

  /** Waits until the replica is in the profile: it is written lazily (STORE-3 of the client's SPEC). */
  async isStored() {
    await until('the replica is stored', () => this.page.evaluate(countInProfile, { table: 'replicas' }));
  }

  /** Waits until a star that was just turned is durable: its intent is in the profile, or the broker has all. */
  async isKept(album) {
    await until(`${album} is kept`, async () => {
      if ((await this.page.evaluate(countInProfile, { table: 'intents', album })) > 0) return true;
      return (await this.page.locator('#pill-label').textContent()) === 'Saved';
    });
  }

  /** A track's five dots. */
  rating(id) {
    return this.page.locator(`.row[data-id="${id}"] .rating`);
  }

  async rates(id, rating) {
    await until(
      `${id} is rated ${rating}`,
      async () => (await this.rating(id).inputValue()) === String(rating),
    );
  }

  play(id) {
    return this.page.locator(`.row[data-id="${id}"] .play`);
  }

  async played(id, times) {
    const text = () => this.play(id).locator('.plays').textContent();
    await until(`${id} was played ${times} times`, async () => (await text()) === String(times));
  }

  /** The note of the opened album. */
  noteField() {
    return this.page.locator('.note textarea');
  }

  async writeNote(text) {
    await this.noteField().fill(text);
    await this.page.locator('.note .save').click();
  }

  async hasNote(text) {
    await until(`the note is ${text}`, async () => (await this.noteField().inputValue()) === text);
  }

  noteConflict() {
    return this.page.locator('.note .open');
  }

  async enterRoom() {
    await this.page.locator('#view-room').click();
    await this.page.locator('#queue-count').waitFor();
  }

  /** Waits until these tracks are queued, in this order. */
  async queues(tracks) {
    const shown = () =>
      this.page.locator('#queue > li').evaluateAll((items) => items.map(({ dataset }) => dataset.track));
    await until(`the queue is ${tracks}`, async () => String(await shown()) === String(tracks));
  }

  queued(track) {
    return this.page.locator(`#queue > li[data-track="${track}"]`);
  }

  /** Puts a track of the opened album at the end of a playlist. */
  async putInto(track, playlist) {
    await this.page.locator(`.into[data-id="${track}"]`).selectOption(playlist);
  }

  listed(playlist, track) {
    return this.page.locator(`[data-playlist="${playlist}"] > li[data-track="${track}"]`);
  }

  /** Waits until a playlist has these tracks, in this order. */
  async lists(playlist, tracks) {
    const shown = () =>
      this.page
        .locator(`[data-playlist="${playlist}"] > li`)
        .evaluateAll((items) => items.map(({ dataset }) => dataset.track));
    await until(`the list is ${tracks}`, async () => String(await shown()) === String(tracks));
  }

  /** Takes a row by its handle and moves it to where another one is. */
  async lift(row, to) {
    const from = await row.locator('.grip').boundingBox();
    const box = await to.boundingBox();
    const down = box.y > from.y;
    await this.page.mouse.move(from.x + from.width / 2, from.y + from.height / 2);
    await this.page.mouse.down();
    await this.page.mouse.move(from.x, (from.y + box.y) / 2);
    // Beyond its middle, on whichever side it is come from.
    await this.page.mouse.move(from.x, box.y + box.height * (down ? 0.8 : 0.2));
  }

  async drag(row, to) {
    await this.lift(row, to);
    await this.page.mouse.up();
  }

  /** A further window of the same browser and group. */
  async another(name) {
    const address = new URL(this.page.url());
    address.searchParams.set('name', name);
    return Shelf.open(this.page.context(), address.href);
  }

  /** The app's own switch; the panel is open where there is room for it. */
  async goOffline() {
    await this.page.locator('#offline').click();
    await this.pill(/^Offline/);
  }

  async goOnline() {
    await this.page.locator('#offline').click();
  }

  /** Writes on the window, so that a reload would be noticed. */
  async markWindow() {
    await this.page.evaluate(() => Object.assign(globalThis, { neverReloaded: true }));
  }

  async assertNeverReloaded() {
    assert.equal(await this.page.evaluate(() => globalThis.neverReloaded), true, 'the page was reloaded');
  }

  assertNoProblems() {
    assert.deepEqual(this.#problems, []);
  }
}

/** Runs in the page: how many rows its IndexedDB has in this table, of this album if one is named. */
async function countInProfile({ table, album }) {
  const settled = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  let found = 0;
  for (const { name } of await indexedDB.databases()) {
    const database = await settled(indexedDB.open(name));
    const has = database.objectStoreNames.contains(table);
    const rows = has ? await settled(database.transaction(table).objectStore(table).getAll()) : [];
    found += rows.filter(({ eventData }) => album === undefined || eventData.album_id === album).length;
    database.close();
  }
  return found;
}
