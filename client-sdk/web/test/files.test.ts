import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { build } from 'vite';
import type { IntentRow } from '../src/core/messages.js';
import { fileStorage, openSyncline } from '../src/node/index.js';
import { Journal } from '../src/node/journal.js';

const WEB = join(import.meta.dirname, '..');
const root = mkdtempSync(join(tmpdir(), 'syncline-files-'));
const OFFLINE = { url: 'ws://127.0.0.1:1/mqtt', syncId: 'music' };
let folders = 0;

afterAll(() => rmSync(root, { recursive: true }));

function folder(): string {
  const path = join(root, String(++folders));
  mkdirSync(path);
  return path;
}

function intent(id: number): IntentRow {
  const clock = { timestamp: 1, counter: 0 };
  return {
    id,
    eventType: 't',
    eventData: id,
    deviceUuid: 'd',
    deviceSeq: id,
    clock,
    baseSeq: 0,
    epoch: null,
  };
}

async function records(path: string): Promise<string[]> {
  const found: string[] = [];
  const journal = await Journal.open(path, async (record) => void found.push(String(record)));
  await journal.append(Buffer.from('behind'));
  await journal.close();
  return found;
}

describe('a journal', () => {
  it('g11 loses nothing but what was torn off, wherever that was, and goes on behind the rest', async () => {
    const path = join(folder(), 'journal');
    const ends: number[] = [];
    const journal = await Journal.open(path, async () => undefined);
    for (const text of ['one', 'two', 'three']) {
      ends.push(journal.length);
      await journal.append(Buffer.from(text));
    }
    ends.push(journal.length);
    await journal.close();
    const whole = readFileSync(path);
    for (let length = 0; length <= whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      const kept = ['one', 'two', 'three'].slice(0, ends.filter((end) => end <= length).length - 1);
      expect(await records(path), `${length} bytes`).toEqual(length < (ends[0] ?? 0) ? [] : kept);
      expect(await records(path)).toEqual([...(length < (ends[0] ?? 0) ? [] : kept), 'behind']);
    }
  });

  it('g11 never cuts what is behind damage, and names the place', async () => {
    const path = join(folder(), 'journal');
    await records(path);
    await records(path);
    const whole = readFileSync(path);
    const second = 8 + 12 + 'behind'.length;
    for (let at = 0; at < whole.length; at++) {
      const bad = Buffer.from(whole);
      bad[at] = (bad[at] ?? 0) ^ 0x40;
      writeFileSync(path, bad);
      const opening = records(path);
      if (at < 8) await expect(opening, `byte ${at}`).rejects.toThrow('no journal of this version');
      else if (at < second) await expect(opening, `byte ${at}`).rejects.toThrow('damaged at byte 8:');
      else await expect(opening, `byte ${at}`).resolves.toEqual(['behind']);
      if (at < second) expect(readFileSync(path)).toEqual(bad);
    }
  });
});

describe('fileStorage', () => {
  it('store_1 keeps what it has over a rewrite, which keeps the journal short', async () => {
    const path = folder();
    const store = await fileStorage(path).open('a');
    await store.create('slot', 'me', 7);
    const put = { intents: [intent(1)], replica: new Uint8Array(300_000), schema: { strict: false } };
    for (let n = 1; n <= 12; n++)
      await store.write('slot', 'me', [{ type: 'write', write: n, put, delete: [] }]);
    const [own] = readdirSync(path);
    const file = join(path, own ?? '', 'journal');
    expect(statSync(file).size).toBeLessThan(1_700_000);
    await store.write('slot', 'me', [
      { type: 'write', write: 13, put: { intents: [intent(2)] }, delete: [] },
    ]);
    const before = await store.read('slot', 'me');
    store.close();
    const again = await fileStorage(path).open('a');
    expect(await again.read('slot', 'me')).toEqual(before);
    expect(before.intents).toEqual([intent(1), intent(2)]);
    expect(await again.slots()).toEqual([{ slot: 'slot', owner: 'me', usedAt: 7, waiting: 2 }]);
    const another = await fileStorage(path).open('another');
    expect(await another.slots()).toEqual([]);
    another.close();
    again.close();
  });

  it('is one process at a time, which it names, and free when that is gone', async () => {
    const path = folder();
    const store = await fileStorage(path).open('a');
    await expect(fileStorage(path).open('a')).rejects.toThrow('close that client first');
    store.close();
    (await fileStorage(path).open('a')).close();
    const own = join(path, readdirSync(path)[0] ?? '');
    const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    await once(other, 'spawn');
    const last = Math.max(...readdirSync(own).map((name) => Number(name.split('.')[1] ?? 0)));
    await vi.waitFor(() => expect(readFileSync(join(own, `lock.${last}`), 'utf8')).toBe('free'));
    writeFileSync(join(own, `lock.${last + 1}`), JSON.stringify({ pid: other.pid, started: '' }));
    await expect(fileStorage(path).open('a')).rejects.toThrow(`process ${other.pid} has it`);
    // The same number, another process: it began at another time.
    if (process.platform === 'linux') {
      writeFileSync(join(own, `lock.${last + 1}`), JSON.stringify({ pid: other.pid, started: 'before 1' }));
      (await fileStorage(path).open('a')).close();
    }
    const ended = once(other, 'exit');
    other.kill('SIGKILL');
    await ended;
    (await fileStorage(path).open('a')).close();
  });

  it('told_4 keeps users apart, and a wipe leaves nothing', async () => {
    const storage = fileStorage(folder());
    const [ana, ben] = await Promise.all(
      ['ana', 'ben'].map((username) => openSyncline({ ...OFFLINE, storage, username, password: 'p' })),
    );
    await ana?.publish('star_album', { album_id: 'a1' });
    expect([ana?.storage, ben?.pendingEvents()]).toEqual(['files', []]);
    expect(await ana?.wipe()).toEqual({ pending: 1 });
    const again = await openSyncline({ ...OFFLINE, storage, username: 'ana', password: 'p' });
    expect(again.pendingEvents()).toEqual([]);
    await Promise.all([again.close(), ben?.close()]);
  });
});

describe('a process that is killed', () => {
  const built = join(root, 'built');

  beforeAll(async () => {
    const entry = join(WEB, 'src/node/index.ts');
    const ssr = { ssr: entry, outDir: built, rollupOptions: { output: { entryFileNames: 'client.mjs' } } };
    await build({ configFile: false, logLevel: 'silent', root: WEB, build: ssr, ssr: { noExternal: true } });
    copyFileSync(join(import.meta.dirname, 'publishing.mjs'), join(built, 'publishing.mjs'));
  });

  it(
    'g11 has every intent again whose publish had resolved, in order, once',
    { timeout: 60_000 },
    async () => {
      const path = folder();
      let kept = 0;
      for (let round = 0; round < 12; round++) {
        const program = [join(built, 'publishing.mjs'), join(built, 'client.mjs'), path];
        const child = spawn(process.execPath, program, { stdio: ['ignore', 'pipe', 'inherit'] });
        const ended = once(child, 'exit');
        const killAt = kept + 2 + Math.floor(Math.random() * 40);
        for await (const line of createInterface(child.stdout)) {
          const [word, rest = ''] = line.split(' ');
          if (word === 'had') {
            const had = JSON.parse(rest) as number[];
            expect(had).toEqual(had.map((_, i) => i));
            expect(had.length).toBeGreaterThanOrEqual(kept);
            // The last may have been durable without its receipt.
            expect(had.length).toBeLessThanOrEqual(kept + 1);
            kept = had.length;
          } else if ((kept = Number(rest) + 1) === killAt) child.kill('SIGKILL');
        }
        await ended;
      }
      expect(kept).toBeGreaterThan(12);
    },
  );
});
