/** The views of the demo, each with something in it, in an order in which one leads to the next. */
export const scenes = {
  shelf: async (shelf) => {
    for (const id of ['kiln', 'loom']) await shelf.albumStar(id).click();
    await shelf.isSaved();
  },
  record: async (shelf) => {
    await shelf.openAlbum('kiln');
    await shelf.rating('kiln.2').fill('4');
    for (const track of ['kiln.1', 'kiln.2', 'kiln.3']) await shelf.putInto(track, 'on-the-road');
    await shelf.play('kiln.1').click();
    for (const track of ['kiln.4', 'kiln.5']) await shelf.page.locator(`.queue[data-id="${track}"]`).click();
    await shelf.isSaved();
  },
  conflict: async (shelf) => {
    const other = await conflictingWindow(shelf);
    await shelf.noteConflict().waitFor();
    await shelf.noteConflict().scrollIntoViewIfNeeded();
    await other.page.close();
  },
  starred: (shelf) => shelf.page.locator('#view-starred').click(),
  lists: async (shelf) => {
    await shelf.page.locator('#view-lists').click();
    await shelf.listed('on-the-road', 'kiln.3').waitFor();
  },
  room: async (shelf) => {
    await shelf.enterRoom();
    await shelf.queued('kiln.5').waitFor();
  },
  history: async (shelf) => {
    await shelf.page.locator('#view-all').click();
    await shelf.page.locator('#history').click();
    await shelf.page.locator('#moment:not([max="0"])').waitFor();
    await shelf.page.locator('#moment').focus();
    await shelf.page.keyboard.press('Home');
    await shelf.sees(shelf.albumStar('kiln'), false);
  },
  offline: async (shelf) => {
    await shelf.page.locator('#history-now').click();
    await shelf.page.locator('#airplane').click();
    await shelf.albumStar('nightjar').click();
    await shelf.pill(/^Offline, 1 waiting$/);
    const panel = shelf.page.locator('#panel');
    if (await panel.isHidden()) await shelf.page.locator('#pill').click();
    await panel.waitFor();
  },
};

/** A second window of the same browser, in which another note is written while neither knows of the other's. */
async function conflictingWindow(shelf) {
  const other = await shelf.another('Attic');
  await other.isSaved();
  await other.openAlbum('kiln');
  for (const one of [shelf, other]) {
    await one.page.locator('#airplane').click();
    await one.pill(/^Offline/);
  }
  await shelf.writeNote('Best on a rainy day, with the second side first');
  await other.writeNote('Lend it to Ada');
  for (const one of [shelf, other]) await one.pill(/waiting$/);
  for (const one of [shelf, other]) await one.page.locator('#airplane').click();
  await other.isSaved();
  return other;
}
