import { beforeEach, describe, expect, it, vi } from 'vitest';
import { RefusedError, counterOf, listOf, mapOf, setOf, undoable, type Changes } from '../src/index.js';
import { decodeMap, encodeCanonical } from '../src/protocol/canonical.js';
import { FakeBroker } from './broker.js';
import { open, saved, until } from './pages.js';
import { Browser, type Page } from './tab.js';

let broker: FakeBroker;

beforeEach(() => (broker = new FakeBroker()));

async function online(): Promise<Page> {
  const page = await open(new Browser(broker, { locks: true }));
  await saved(page);
  return page;
}

/** Everything that an app sees. */
function seen({ client }: Page): unknown {
  // A sum of nothing is no other than none.
  const values = (name: string): unknown =>
    client.entries(name).flatMap(({ key, value }) => (value === 0 && name === 'plays' ? [] : [[key, value]]));
  const items = (list: string): unknown =>
    client.list('playlists', list).map(({ key, value }) => [key, value]);
  return [...['albums', 'ratings', 'notes', 'plays'].map(values), items('a'), items('b')];
}

/** The same numbers at every run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function someChange(changes: Changes, below: (limit: number) => number): Promise<unknown> {
  const key = `k${below(3)}`;
  const list = listOf<string>(changes, 'playlists', below(2) === 0 ? 'a' : 'b');
  const after = [undefined, null, `k${below(3)}`][below(3)];
  const all = [
    () => setOf(changes, 'albums').add(key),
    () => setOf(changes, 'albums').remove(key),
    () => mapOf<number>(changes, 'ratings').put(key, below(5)),
    () => mapOf(changes, 'ratings').remove(key),
    () => mapOf<string>(changes, 'notes').put(key, `note ${below(9)}`),
    () => mapOf(changes, 'notes').remove(key),
    () => counterOf(changes, 'plays').add(key, below(9) - 4),
    () => list.put(key, `t${below(9)}`, after),
    () => list.move(key, after),
    () => list.remove(key),
  ];
  return (all[below(all.length)] ?? list.items)() as Promise<unknown>;
}

describe('all the way back and forth', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])('undo_4 an app sees what it saw, seed %i', async (seed) => {
    const page = await online();
    const below = numbers(seed);
    if (seed % 2 === 0) page.client.setOnline(false);
    const history = undoable(page.client);
    const past = [seen(page)];
    while (past.length < 20) {
      const before = history.steps.undo;
      if (below(4) > 0) await someChange(history, below);
      else
        await history.group(
          async (group) => void (await someChange(group, below), await someChange(group, below)),
        );
      if (history.steps.undo > before) past.push(seen(page));
    }
    for (let i = past.length - 2; i >= 0; i--) {
      await history.undo();
      expect(seen(page)).toEqual(past[i]);
      // So that it is not only the outbox that is looked at.
      if (seed % 2 === 1 && i % 5 === 0) await saved(page);
    }
    await expect(history.undo()).rejects.toMatchObject({ refusal: 'nothing_to_undo' });
    for (let i = 1; i < past.length; i++) {
      await history.redo();
      expect(seen(page)).toEqual(past[i]);
    }
    await expect(history.redo()).rejects.toMatchObject({ refusal: 'nothing_to_redo' });
    if (seed % 2 === 0) page.client.setOnline(true);
    await saved(page);
    expect(seen(page)).toEqual(past.at(-1));
  });
});

describe('a step', () => {
  it('undo_3 on what another device has changed since is not taken back, and is gone', async () => {
    const [here, there] = [await online(), await online()];
    const history = undoable(here.client);
    await mapOf(history, 'ratings').put('t1', 1);
    await mapOf(history, 'ratings').put('t2', 2);
    await until(() => there.client.has('ratings', 't2'));
    await (
      await mapOf(there.client, 'ratings').put('t2', 5)
    ).saved;
    await until(() => here.client.value('ratings', 't2') === 5);
    const published = broker.log.length;
    await expect(history.undo()).rejects.toMatchObject({
      refusal: 'changed_since',
      reason: expect.stringContaining('"t2" in ratings') as string,
    });
    expect([here.client.value('ratings', 't2'), broker.log.length]).toEqual([5, published]);
    expect(history.steps).toEqual({ undo: 1, redo: 0 });
    await history.undo();
    expect(here.client.has('ratings', 't1')).toBe(false);
  });

  it('undo_3 of a sum is taken back whoever has counted since', async () => {
    const [here, there] = [await online(), await online()];
    const history = undoable(here.client);
    await counterOf(history, 'plays').add('t1', 3);
    await (
      await counterOf(there.client, 'plays').add('t1', 10)
    ).saved;
    await until(() => here.client.value('plays', 't1') === 13);
    await history.undo();
    expect(here.client.value('plays', 't1')).toBe(10);
  });

  it('undo_3 is still its own where the broker gave its event another clock', async () => {
    const slow = (payload: Uint8Array): Uint8Array => {
      const map = decodeMap(payload, 33);
      return encodeCanonical({ ...map, timestamp: (map['timestamp'] as number) - 5 });
    };
    const publish = broker.publish.bind(broker);
    broker.publish = (device, payload) => publish(device, slow(payload));
    const page = await online();
    const history = undoable(page.client);
    await setOf(history, 'albums').add('a1');
    await mapOf(history, 'ratings').put('t1', 1);
    await mapOf(history, 'ratings').put('t1', 2);
    await saved(page);
    for (let i = 0; i < 3; i++) await history.undo();
    expect(seen(page)).toEqual([[], [], [], [], [], []]);
  });

  it('undo_1 that the broker refuses for ever is forgotten', async () => {
    broker.refused.set('star_album', { name: 'not_allowed', reason: 'no' });
    const page = await online();
    const history = undoable(page.client);
    await mapOf(history, 'ratings').put('t1', 1);
    const receipt = await setOf(history, 'albums').add('a1');
    expect(history.steps.undo).toBe(2);
    await expect(receipt.saved).rejects.toMatchObject({ refusal: 'not_allowed' });
    await until(() => history.steps.undo === 1);
    await history.undo();
    expect(page.client.has('ratings', 't1')).toBe(false);
  });

  it('undo_2 stays where its opposite finds no room', async () => {
    const page = await online();
    const history = undoable(page.client);
    await mapOf(history, 'ratings').put('t1', 1);
    await history.group(async (group) => {
      await setOf(group, 'albums').add('a1');
      await mapOf(group, 'ratings').put('t1', 2);
    });
    const full = new RefusedError('quota_exceeded', 'full');
    vi.spyOn(page.client, 'publish').mockRejectedValueOnce(full).mockRejectedValueOnce(full);
    await expect(history.undo()).rejects.toBe(full);
    expect(history.steps).toEqual({ undo: 2, redo: 0 });
    await history.undo();
    await history.undo();
    expect(seen(page)).toEqual([[], [], [], [], [], []]);
  });

  it('undo_2 a change ends what could be done again', async () => {
    const page = await online();
    const history = undoable(page.client);
    await setOf(history, 'albums').add('a1');
    await history.undo();
    expect(history.steps).toEqual({ undo: 0, redo: 1 });
    await setOf(history, 'albums').add('a2');
    expect(history.steps).toEqual({ undo: 1, redo: 0 });
  });

  it('undo_1 is forgotten when there are more than the limit, and when the history is closed', async () => {
    const page = await online();
    const history = undoable(page.client, { limit: 2 });
    let told = 0;
    history.subscribe(() => (told += 1));
    for (const key of ['a1', 'a2', 'a3']) await setOf(history, 'albums').add(key);
    expect([history.steps.undo, told]).toEqual([2, 2]);
    await history.undo();
    await history.undo();
    await expect(history.undo()).rejects.toMatchObject({ refusal: 'nothing_to_undo' });
    expect(setOf(history, 'albums').keys()).toEqual(['a1']);
    history.close();
    expect(history.steps).toEqual({ undo: 0, redo: 0 });
    expect(() => undoable(page.client, { limit: 0 })).toThrow(RangeError);
  });

  it('undo_1 of a type that the schema does not name is none', async () => {
    const history = undoable((await online()).client);
    await history.publish('something_else', { a: 1 });
    expect(history.steps.undo).toBe(0);
  });

  it('undo_1 that is made in a listener is read when it is shown', async () => {
    const page = await online();
    const history = undoable(page.client);
    let answered: Promise<unknown> | undefined;
    page.client.addEventListener('change', () => (answered ??= setOf(history, 'albums').add('a2')), {
      once: true,
    });
    await setOf(history, 'albums').add('a1');
    await answered;
    expect(history.steps.undo).toBe(2);
    await history.undo();
    expect(setOf(history, 'albums').keys()).toEqual(['a1']);
  });
});

describe('a group', () => {
  it('undo_3 of which one entry was changed since is not taken back at all', async () => {
    const [here, there] = [await online(), await online()];
    const history = undoable(here.client);
    await history.group(async (group) => {
      await setOf(group, 'albums').add('a1');
      await setOf(group, 'albums').add('a2');
    });
    await until(() => there.client.has('albums', 'a2'));
    await (
      await setOf(there.client, 'albums').remove('a1')
    ).saved;
    await until(() => !here.client.has('albums', 'a1'));
    await expect(history.undo()).rejects.toMatchObject({ refusal: 'changed_since' });
    expect([here.client.has('albums', 'a2'), history.steps.undo]).toEqual([true, 0]);
  });

  it('that fails in the middle is a step of what it did', async () => {
    const page = await online();
    const history = undoable(page.client);
    const failing = history.group(async (group) => {
      await setOf(group, 'albums').add('a1');
      await setOf(group, 'albums').add('a2');
      await setOf(group, 'moods').add('calm');
    });
    await expect(failing).rejects.toMatchObject({ refusal: 'cannot_say' });
    expect(history.steps.undo).toBe(1);
    await history.undo();
    expect(page.client.entries('albums')).toEqual([]);
  });

  it('that is undone before it is finished goes on with a step of its own', async () => {
    const page = await online();
    const history = undoable(page.client);
    await history.group(async (group) => {
      await setOf(group, 'albums').add('a1');
      await history.undo();
      await setOf(group, 'albums').add('a2');
    });
    expect(setOf(history, 'albums').keys()).toEqual(['a2']);
    await history.undo();
    expect([page.client.entries('albums'), history.steps.undo]).toEqual([[], 0]);
  });
});
