/**
 * `@syncline/client/node`: all of `@syncline/client`, and what browsers need not load.
 *
 * @packageDocumentation
 */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { StoragePlace } from '../storage/store.js';
import { lock } from './lock.js';
import { FileStore } from './store.js';

export * from '../index.js';

/** The store that this process opened last in a folder. */
const opened = new Map<string, FileStore>();

/**
 * Outbox and replica in files below a folder, which is created, readable by this user alone; a folder of its own for each
 * broker, stream and user. One process at a time: opening rejects with an `Error` that names the one that has it, and, where
 * a file is damaged, with one that names the place. What a crash has torn off was never acknowledged, and is cut.
 */
export function fileStorage(folder: string): StoragePlace {
  return {
    open: async (name) => {
      const own = join(resolve(folder), createHash('sha256').update(name).digest('hex').slice(0, 32));
      // One that was told to close may be at its last write.
      await opened.get(own)?.closed;
      mkdirSync(own, { recursive: true, mode: 0o700 });
      const release = lock(own);
      try {
        const store = await FileStore.open(join(own, 'journal'), release);
        opened.set(own, store);
        return store;
      } catch (error) {
        release();
        throw error;
      }
    },
  };
}
