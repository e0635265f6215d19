import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Broker } from '../support/broker.mjs';
import { openBrowser } from '../support/browser.mjs';
import { Line } from '../support/line.mjs';
import { Shelf } from '../support/shelf.mjs';
import { freshGroup, Stage } from '../support/stage.mjs';

/** A name that is not loopback to the browser, as that of a machine of the LAN. */
const HOST = 'lan.test';

const stage = new Stage();
let broker;
let browser;

before(async () => {
  broker = stage.keep(await Broker.start({ SYNCLINE__HTTP__ALLOWED_HOSTS: HOST }), (it) => it.stop());
  browser = stage.keep(await openBrowser(`--host-resolver-rules=MAP ${HOST} 127.0.0.1`), (it) => it.close());
});
after(() => stage.clear());

async function open(address) {
  const context = stage.keep(await browser.newContext(), (it) => it.close());
  return Shelf.open(context, address);
}

test('over plain http from a LAN name the page works without randomUUID, subtle and Web Locks', async () => {
  const group = freshGroup();
  const line = stage.keep(await Line.to(broker.httpPort), (it) => it.close());
  const here = await open(broker.page(group, { host: HOST, port: line.port }));
  const there = await open(broker.page(group));
  const missing = await here.page.evaluate(() => [
    isSecureContext,
    typeof crypto.randomUUID,
    typeof crypto.subtle,
    typeof navigator.locks,
    typeof navigator.clipboard,
  ]);
  assert.deepEqual(missing, [false, ...Array(4).fill('undefined')]);

  await here.isSaved();
  await here.albumStar('bauplan').click();
  await there.sees(there.albumStar('bauplan'));

  await here.isStored();
  line.set('cut');
  await here.pill(/^Offline/);
  await here.albumStar('sotto').click();
  await here.pill(/^Offline, 1 waiting$/);
  line.set('pages');
  await here.page.reload();
  await here.sees(here.albumStar('sotto'));
  line.set('pass');
  await there.sees(there.albumStar('sotto'));
  await here.isSaved();
  here.assertNoProblems();
});

test('the link is copied without the clipboard API', async () => {
  const here = await open(broker.page(freshGroup(), { host: HOST }));
  await here.page.locator('#copy').click();
  await here.page.locator('.notice', { hasText: 'Link copied' }).waitFor();
  await here.page.locator('#search').focus();
  await here.page.keyboard.press('Control+V');
  assert.equal(
    await here.page.locator('#search').inputValue(),
    await here.page.locator('#link').inputValue(),
  );
});

test('without a group in the address the page makes one and shows it there', async () => {
  const here = await open(`http://${HOST}:${broker.httpPort}/`);
  const made = new URL(here.page.url()).searchParams.get('sync');
  assert.match(made, /^[a-z0-9]{5}-[a-z0-9]{5}$/);
  const odd = await open(`http://${HOST}:${broker.httpPort}/?sync=${encodeURIComponent('not a group/#')}`);
  await odd.page.locator('.notice', { hasText: 'cannot name a group' }).waitFor();
});
