/** One device for all tabs of a browser (WEB-16 … WEB-18). */
import { beforeEach, describe, expect, it } from 'vitest';
import { setOf } from '../src/collections.js';
import { undoable } from '../src/undo/undoable.js';
import { FakeBroker } from './broker.js';
import { heard, open, saved, until } from './pages.js';
import { Browser, type Page } from './tab.js';

let broker: FakeBroker;
let browser: Browser;

beforeEach(() => {
  broker = new FakeBroker();
  browser = new Browser(broker, { locks: true, name: 'Laptop', deviceScope: 'browser' });
});

function albums({ client }: Page): string[] {
  return client.entries('albums').map(({ key }) => key);
}

/** Some tabs, the first of which leads. */
async function tabs(count: number): Promise<Page[]> {
  const pages: Page[] = [];
  for (let i = 0; i < count; i++) pages.push(await open(browser));
  await Promise.all(pages.map(saved));
  return pages;
}

describe('web_16 all tabs are one device', () => {
  it('with one connection, one outbox and one replica', async () => {
    const [one, two, three] = (await tabs(3)) as [Page, Page, Page];
    expect(new Set([one, two, three].map(({ client }) => client.deviceUuid)).size).toBe(1);
    expect(broker.links.size).toBe(1);
    await (
      await setOf(two.client, 'albums').add('a1')
    ).saved;
    await (
      await setOf(three.client, 'albums').add('a2')
    ).saved;
    await until(() => [one, two, three].every((page) => albums(page).join() === 'a1,a2'));
    expect(broker.log.map(({ deviceSeq }) => deviceSeq)).toEqual([1, 2]);
    expect((await one.client.publish('star_album', { album_id: 'a3' })).deviceSeq).toBe(3);
    await until(() => albums(three).length === 3);
  });

  it('and an event is foreign in none of them', async () => {
    const [one, two] = (await tabs(2)) as [Page, Page];
    const told = [heard<{ own: boolean }>(one, 'event'), heard<{ own: boolean }>(two, 'event')];
    await (
      await setOf(two.client, 'albums').add('a1')
    ).saved;
    await until(() => told.every(({ length }) => length === 1));
    expect(told.flat().map(({ own }) => own)).toEqual([true, true]);
  });

  it('of which all show the same status, devices, conflicts and what waits', async () => {
    const [one, two] = (await tabs(2)) as [Page, Page];
    await until(() => two.client.devices().length === 1);
    expect(two.client.devices()).toEqual(one.client.devices());
    broker.reachable = false;
    broker.cut();
    await until(() => two.client.status.state !== 'saved');
    await setOf(two.client, 'albums').add('a1');
    await until(() => one.client.pendingEvents().length === 1 && two.client.pendingEvents().length === 1);
    expect(two.client.pendingEvents()).toEqual(one.client.pendingEvents());
    expect(two.client.entries('albums')).toEqual([{ key: 'a1', value: true, pending: true }]);
    await until(() => two.client.devices().length === 0);
    broker.reachable = true;
    two.environment.wake();
    await Promise.all([saved(one), saved(two)]);
    await until(() => two.client.entries('albums')[0]?.pending === false);
  });

  it('and what is refused is said in each of them, with its reason', async () => {
    const [one, two] = (await tabs(2)) as [Page, Page];
    await expect(two.client.publish('star_album', { name: 'no key' })).rejects.toMatchObject({
      refusal: 'bad_data',
    });
    const aside = [heard(one, 'setaside'), heard(two, 'setaside')];
    broker.refused.set('star_album', { name: 'not_allowed', reason: 'no' });
    const receipt = await two.client.publish('star_album', { album_id: 'a1' });
    await expect(receipt.saved).rejects.toMatchObject({ refusal: 'not_allowed' });
    await until(() => aside.every(({ length }) => length === 1));
    expect(albums(two)).toEqual([]);
  });

  it('which a tab that comes later finds as it is', async () => {
    const [one] = (await tabs(1)) as [Page];
    for (const id of ['a1', 'a2']) await setOf(one.client, 'albums').add(id);
    await saved(one);
    const two = await open(browser);
    expect(albums(two)).toEqual(['a1', 'a2']);
    expect(two.client.status.state).toBe('saved');
  });
});

describe('web_17 another tab leads', () => {
  it('when the one that led is closed', async () => {
    const [one, two] = (await tabs(2)) as [Page, Page];
    const { deviceUuid } = one.client;
    await one.client.close();
    await (
      await setOf(two.client, 'albums').add('a1')
    ).saved;
    expect(two.client.deviceUuid).toBe(deviceUuid);
    expect(broker.log.map((event) => [event.deviceUuid, event.deviceSeq])).toEqual([[deviceUuid, 1]]);
  });

  it('when it is frozen, and what it had not taken is published once', async () => {
    const [one, two, three] = (await tabs(3)) as [Page, Page, Page];
    await (
      await setOf(two.client, 'albums').add('a1')
    ).saved;
    one.environment.isFrozen = true;
    const receipts = await Promise.all(
      ['a2', 'a3', 'a4'].map((id, i) => setOf(i === 1 ? three.client : two.client, 'albums').add(id)),
    );
    await Promise.all(receipts.map(({ saved }) => saved));
    await until(() => albums(two).length === 4 && albums(three).length === 4);
    one.environment.thaw();
    await until(() => albums(one).length === 4 && one.client.status.state === 'saved');
    await (
      await setOf(one.client, 'albums').add('a5')
    ).saved;
    await until(() => [one, two, three].every((page) => albums(page).length === 5));
    const { deviceUuid } = two.client;
    expect(broker.log.map((event) => event.deviceUuid)).toEqual(Array(5).fill(deviceUuid));
    expect(broker.log.map(({ deviceSeq }) => deviceSeq)).toEqual([1, 2, 3, 4, 5]);
    expect([one, three].map(({ client }) => client.deviceUuid)).toEqual([deviceUuid, deviceUuid]);
  });

  it('and what was stored but not answered is not stored again', async () => {
    const [one, two] = (await tabs(2)) as [Page, Page];
    broker.reachable = false;
    broker.cut();
    await until(() => two.client.status.state === 'offline');
    // It hears the request, and its answer is not heard.
    const said = two.environment.whenSaid(() => (one.environment.isMute = true));
    const publishing = setOf(two.client, 'albums').add('a1');
    await said;
    await until(() => one.client.pendingEvents().length === 1);
    one.environment.isFrozen = true;
    const receipt = await publishing;
    broker.reachable = true;
    two.environment.wake();
    await receipt.saved;
    expect(broker.log.map(({ eventType, deviceSeq }) => [eventType, deviceSeq])).toEqual([['star_album', 1]]);
  });

  it('and receipts go on', async () => {
    const [one, two] = (await tabs(2)) as [Page, Page];
    broker.reachable = false;
    broker.cut();
    await until(() => two.client.status.state === 'offline');
    const receipts = [];
    for (const id of ['a1', 'a2', 'a3']) receipts.push(await setOf(two.client, 'albums').add(id));
    await one.client.close();
    broker.reachable = true;
    await until(() => broker.links.size === 1);
    expect((await Promise.all(receipts.map(({ saved }) => saved))).map(({ seq }) => seq)).toEqual([1, 2, 3]);
  });

  it('and the receipt of a change that a later one replaced ends as that one does', async () => {
    const [one, two] = (await tabs(2)) as [Page, Page];
    broker.reachable = false;
    broker.cut();
    await until(() => two.client.status.state === 'offline');
    const album = setOf(two.client, 'albums');
    const receipts = [await album.add('a1'), await album.remove('a1'), await album.add('a1')];
    await one.client.close();
    broker.reachable = true;
    await until(() => broker.links.size === 1);
    expect((await Promise.all(receipts.map(({ saved }) => saved))).map(({ seq }) => seq)).toEqual([1, 1, 1]);
    expect(broker.log.length).toBe(1);
  });
});

describe('web_18 what an app does in one tab, it does for all', () => {
  it('switching off and on', async () => {
    const [one, two] = (await tabs(2)) as [Page, Page];
    two.client.setOnline(false);
    await until(() => [one, two].every(({ client }) => client.status.state === 'offline'));
    expect(broker.links.size).toBe(0);
    await one.client.close();
    await until(() => two.client.status.state === 'offline');
    expect(broker.links.size).toBe(0);
    two.client.setOnline(true);
    await saved(two);
  });

  it('wiping', async () => {
    const [one, two] = (await tabs(2)) as [Page, Page];
    broker.reachable = false;
    broker.cut();
    await setOf(two.client, 'albums').add('a1');
    expect(await two.client.wipe()).toEqual({ pending: 1 });
    await until(() => one.client.status.state === 'closed');
    broker.reachable = true;
    const [three] = (await tabs(1)) as [Page];
    expect(albums(three)).toEqual([]);
  });
});

describe('undo_3 in a tab that follows', () => {
  it('takes back and does again what it published, in steps, and nothing of others', async () => {
    const [one, two] = (await tabs(2)) as [Page, Page];
    const history = undoable(two.client);
    await setOf(history, 'albums').add('a1');
    await history.group(async (changes) => {
      await Promise.all(['a2', 'a3'].map((id) => setOf(changes, 'albums').add(id)));
      await setOf(changes, 'albums').remove('a2');
    });
    expect(albums(two)).toEqual(['a1', 'a3']);
    await history.undo();
    expect(albums(two)).toEqual(['a1']);
    await history.redo();
    expect(albums(two)).toEqual(['a1', 'a3']);
    await history.undo();
    await setOf(one.client, 'albums').remove('a1');
    await until(() => albums(two).length === 0);
    await expect(history.undo()).rejects.toMatchObject({ refusal: 'changed_since' });
  });
});
