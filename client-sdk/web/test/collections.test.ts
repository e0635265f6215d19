import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { act, counterOf, listOf, mapOf, setOf, type Action } from '../src/index.js';
import { compose } from '../src/protocol/compose.js';
import { Schema, type Operation } from '../src/protocol/schema.js';
import { FakeBroker } from './broker.js';
import { MUSIC, schemaDocument } from './golden.js';
import { Browser, type Page } from './tab.js';

const SCHEMA = Schema.fromDocument(schemaDocument(MUSIC));

let broker: FakeBroker;
const pages: Page[] = [];

beforeEach(() => (broker = new FakeBroker()));
afterEach(async () => {
  await Promise.all(pages.splice(0).map(({ client }) => client.close()));
});

async function open(): Promise<Page> {
  const page = await new Browser(broker, { locks: true }).open();
  pages.push(page);
  return page;
}

async function until(condition: () => boolean): Promise<void> {
  await vi.waitFor(() => expect(condition()).toBe(true), { timeout: 3_000, interval: 5 });
}

const place = (after: string | null | undefined, list: string | null = 'p'): Action => ({
  type: 'place',
  value: 't1',
  list,
  after,
});

it('what is composed says what was meant', () => {
  const all: [string, Action][] = [
    ['albums', { type: 'put', value: true }],
    ['albums', { type: 'remove' }],
    ['ratings', { type: 'put', value: 4 }],
    ['ratings', { type: 'put', value: null }],
    ['notes', { type: 'remove' }],
    ['plays', { type: 'count', amount: -3 }],
    ['playlists', place(undefined)],
    ['playlists', place(null)],
    ['playlists', place('i1')],
    ['playlists', { type: 'remove' }],
  ];
  for (const [collection, action] of all) {
    const operation: Operation = { collection, key: 'k', action };
    const { eventType, eventData } = compose(SCHEMA, operation);
    expect(SCHEMA.operation(eventType, eventData)).toEqual(operation);
  }
});

it.each([
  ['moods', { type: 'remove' }, 'no collection "moods"'],
  ['albums', { type: 'count', amount: 1 }, 'albums is a set, which cannot count'],
  ['albums', { type: 'put', value: 4 }, 'names no value'],
  ['plays', { type: 'remove' }, 'plays is a counter, which cannot remove'],
  ['plays', { type: 'count', amount: 0.5 }, 'counts integers'],
  ['playlists', place(undefined, null), 'say which one'],
] satisfies [string, Action, string][])('%s cannot be told %j', async (collection, action, reason) => {
  const { client } = await open();
  await until(() => client.status.state === 'saved');
  await expect(act(client, collection, 'k', action)).rejects.toMatchObject({
    refusal: 'cannot_say',
    reason: expect.stringContaining(reason) as string,
  });
});

it('a change before any schema is known says what to do', async () => {
  broker.reachable = false;
  const { client } = await open();
  await expect(setOf(client, 'albums').add('a1')).rejects.toMatchObject({ refusal: 'no_schema' });
});

it('collections of every kind agree on two devices', async () => {
  const [phone, laptop] = [(await open()).client, (await open()).client];
  await until(() => phone.status.state === 'saved' && laptop.status.state === 'saved');
  await setOf(phone, 'albums').add('a1');
  await mapOf<number>(phone, 'ratings').put('t1', 4);
  await counterOf(phone, 'plays').add('t1', 3);
  const sunday = listOf<string>(phone, 'playlists', 'sunday');
  for (const n of ['1', '2', '3']) await sunday.put(`i${n}`, `t${n}`);
  await (
    await sunday.move('i3', null)
  )?.saved;
  expect(await sunday.move('i9')).toBeUndefined();

  const theirs = listOf<string>(laptop, 'playlists', 'sunday');
  const order = (): string =>
    theirs
      .items()
      .map(({ key, value }) => `${key}=${value}`)
      .join();
  await until(() => order() === 'i3=t3,i1=t1,i2=t2');
  expect(setOf(laptop, 'albums').keys()).toEqual(['a1']);
  expect(mapOf<number>(laptop, 'ratings').entries()).toEqual([{ key: 't1', value: 4 }]);
  expect(counterOf(laptop, 'plays').get('t1')).toBe(3);
  await (
    await theirs.remove('i1')
  ).saved;
  await (
    await mapOf(laptop, 'ratings').remove('t1')
  ).saved;
  await until(() => sunday.items().length === 2 && mapOf(phone, 'ratings').get('t1') === undefined);
});
