import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, expectTypeOf, it, vi } from 'vitest';
import { sourceOf } from '../src/generate/source.js';
import {
  collectionsOf,
  defineSchema,
  type CounterOf,
  type ListOf,
  type MapOf,
  type SetOf,
  type Value,
} from '../src/index.js';
import { valueHash } from '../src/protocol/digest.js';
import { FakeBroker } from './broker.js';
import { MUSIC, schemaDocument } from './golden.js';
import { Browser, type Page } from './tab.js';

const music = defineSchema({
  collections: {
    albums: { kind: 'set' },
    tracks: { kind: 'set' },
    ratings: { kind: 'map' },
    notes: { kind: 'map' },
    plays: { kind: 'counter' },
    playlists: { kind: 'list', value: 'track_id', list: 'playlist_id' },
  },
});
interface Values {
  readonly ratings: number;
  readonly playlists: string;
}

describe('typed collections', () => {
  let page: Page;
  beforeEach(async () => {
    page = await new Browser(new FakeBroker(), { locks: true }).open();
    await vi.waitFor(() => expect(page.client.status.state).toBe('saved'), { timeout: 3_000, interval: 5 });
  });
  afterEach(() => page.client.close());

  it('are of the kinds and values that the schema and the app say', () => {
    const all = collectionsOf<typeof music, Values>(page.client, music);
    expectTypeOf(all.albums).toEqualTypeOf<SetOf>();
    expectTypeOf(all.ratings).toEqualTypeOf<MapOf<number>>();
    expectTypeOf(all.notes).toEqualTypeOf<MapOf<Value>>();
    expectTypeOf(all.plays).toEqualTypeOf<CounterOf>();
    expectTypeOf(all.playlists).toEqualTypeOf<(list: string) => ListOf<string>>();
    const bare = defineSchema({ collections: { queue: { kind: 'list' } } });
    expectTypeOf(collectionsOf(page.client, bare).queue).toEqualTypeOf<ListOf<true>>();
    // @ts-expect-error the schema has no such collection
    expect(all.moods).toBeUndefined();
    // @ts-expect-error a rating is a number
    const wrong = (): unknown => all.ratings.put('t1', 'four');
    expect(wrong).toBeTypeOf('function');
  });

  it('change and read what they are named after', async () => {
    const { albums, ratings, plays, playlists } = collectionsOf<typeof music, Values>(page.client, music);
    await albums.add('a1');
    await ratings.put('t1', 4);
    await plays.add('t1', 2);
    const sunday = playlists('sunday');
    await sunday.put('i1', 't1');
    await sunday.put('i2', 't2', null);
    await playlists('monday').put('i3', 't3');
    expect(albums.keys()).toEqual(['a1']);
    expect([ratings.get('t1'), plays.get('t1')]).toEqual([4, 2]);
    expect(sunday.items().map(({ value }) => value)).toEqual(['t2', 't1']);
    expect(page.client.value('albums', 'a1')).toBe(true);
  });

  it('that the deployment does not have are told so by their first change', async () => {
    const other = defineSchema({ collections: { moods: { kind: 'set' }, albums: { kind: 'counter' } } });
    const { moods, albums } = collectionsOf(page.client, other);
    await expect(moods.add('calm')).rejects.toMatchObject({ refusal: 'cannot_say' });
    await expect(albums.add('a1')).rejects.toMatchObject({ refusal: 'cannot_say' });
  });
});

describe('syncline-types', () => {
  it('schema_3 writes what the app would have declared', async () => {
    const source = sourceOf(schemaDocument(MUSIC));
    const literal = /defineSchema\((\{[^]*\})\);/.exec(source)?.[1] ?? '';
    expect(new Function(`return ${literal}`)()).toEqual(music);
  });

  it('schema_3 writes names that hold quotes as what they are', () => {
    const spec = { kind: 'list', conflict: 'last_write_wins', key: 'k', add: 'a', remove: 'r', after: 'b' };
    const schema = { strict: false, collections: { 'to-do': { ...spec, list: `it's "\\` } } };
    const source = sourceOf(JSON.stringify({ hash: valueHash(schema), schema }));
    const literal = /defineSchema\((\{[^]*\})\);/.exec(source)?.[1] ?? '';
    expect(new Function(`return ${literal}`)()).toEqual({
      collections: { 'to-do': { kind: 'list', list: `it's "\\` } },
    });
  });

  it('schema_3 refuses what is no schema of the broker', () => {
    expect(() => sourceOf('<html>')).toThrow('not JSON');
    expect(() => sourceOf(schemaDocument(MUSIC).replace('star_album', 'star_disc'))).toThrow('the hash');
  });

  it('runs as a program on what the broker serves, and says what to do where that is something else', () => {
    const folder = mkdtempSync(join(tmpdir(), 'syncline-types-'));
    const web = fileURLToPath(new URL('..', import.meta.url));
    const run = (program: string, args: string[], input = ''): ReturnType<typeof spawnSync> =>
      spawnSync(process.execPath, [program, ...args], { cwd: web, input, encoding: 'utf8' });
    const tsc = join(web, 'node_modules/typescript/bin/tsc');
    try {
      expect(run(tsc, ['-p', 'tsconfig.bin.json', '--outDir', join(folder, 'dist')]).stdout).toBe('');
      // Where there is no package around it, a module has to say that it is one.
      writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
      const cli = join(folder, 'dist/generate/cli.js');
      const good = run(cli, [], schemaDocument(MUSIC));
      expect(good.stdout).toBe(sourceOf(schemaDocument(MUSIC)));
      expect(readFileSync(cli, 'utf8').startsWith('#!/usr/bin/env node\n')).toBe(true);
      const bad = run(cli, [], 'nothing');
      expect([bad.status, bad.stdout]).toEqual([1, '']);
      expect(bad.stderr).toContain('not JSON');
      expect(bad.stderr).toContain('/schema');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
