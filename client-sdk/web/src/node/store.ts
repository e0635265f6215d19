/**
 * The store in files: a memory of what is stored, and a journal of every change of it.
 *
 * Why not a library: Node 20 has no `node:sqlite`, and LevelDB or SQLite from npm are native modules with builds per platform, for
 * what is a log of a few thousand rows that is read once. LevelDB passes over damage within its log in silence, too.
 * Records are in the form of `node:v8`, which is that of IndexedDB's rows and which Node keeps readable by later versions.
 */
import { deserialize, serialize } from 'node:v8';
import type { StoredRows } from '../core/messages.js';
import { MemoryStore } from '../storage/memory.js';
import type { AsideRow, SlotSummary, Store, StoreWrite } from '../storage/store.js';
import { Journal } from './journal.js';

/** A journal below that is not worth a rewrite. */
const COMPACT_BYTES_MIN = 1 << 20;
/** How many times what it amounts to a journal may be. */
const COMPACT_FACTOR = 4;

/** A call that changes the store, as the journal has it. */
type Change =
  | { readonly call: 'create'; readonly given: Parameters<Store['create']> }
  | { readonly call: 'take'; readonly given: Parameters<Store['take']> }
  | { readonly call: 'write'; readonly given: Parameters<Store['write']> }
  | { readonly call: 'forget'; readonly given: Parameters<Store['forget']> }
  | { readonly call: 'dismiss'; readonly given: Parameters<Store['dismiss']> }
  /** What begins a journal that was rewritten. */
  | { readonly call: 'all'; readonly given: readonly Change[] };

/** See {@link Store}. */
export class FileStore implements Store {
  readonly kind = 'files';
  #last: Promise<unknown> = Promise.resolve();
  #compactAt = COMPACT_BYTES_MIN;
  #closing: Promise<void> | undefined;

  private constructor(
    private readonly memory: MemoryStore,
    private readonly journal: Journal,
    private readonly release: () => void,
  ) {}

  /** `release` is called when the file is closed. */
  static async open(path: string, release: () => void): Promise<FileStore> {
    const memory = new MemoryStore();
    const journal = await Journal.open(path, (record) => apply(memory, deserialize(record) as Change));
    return new FileStore(memory, journal, release);
  }

  slots(): Promise<SlotSummary[]> {
    return this.#then(() => this.memory.slots());
  }

  create(...given: Parameters<Store['create']>): Promise<StoredRows> {
    return this.#change({ call: 'create', given }, () => this.memory.read(given[0], given[1]));
  }

  async take(...given: Parameters<Store['take']>): Promise<StoredRows> {
    const [slot, from, owner] = given;
    return this.#owned(slot, from, { call: 'take', given }, () => this.memory.read(slot, owner));
  }

  read(slot: string, owner: string): Promise<StoredRows> {
    return this.#then(() => this.memory.read(slot, owner));
  }

  write(slot: string, owner: string, writes: readonly StoreWrite[]): Promise<void> {
    return this.#owned(slot, owner, { call: 'write', given: [slot, owner, writes] }, async () => undefined);
  }

  owns(slot: string, owner: string): Promise<boolean> {
    return this.#then(() => this.memory.owns(slot, owner));
  }

  forget(slot: string, owner: string): Promise<void> {
    return this.#owned(slot, owner, { call: 'forget', given: [slot, owner] }, async () => undefined);
  }

  aside(): Promise<AsideRow[]> {
    return this.#then(() => this.memory.aside());
  }

  dismiss(id: string): Promise<void> {
    return this.#change({ call: 'dismiss', given: [id] }, async () => undefined);
  }

  wipe(): Promise<void> {
    return this.#then(async () => {
      await this.memory.wipe();
      await this.#compact();
    });
  }

  /** No other process has it. */
  onEnd(): void {}

  close(): void {
    this.#closing ??= this.#last.then(() => this.journal.close()).finally(this.release);
  }

  /** Once it is closed, if somebody has said so. */
  get closed(): Promise<void> | undefined {
    return this.#closing;
  }

  #owned<T>(slot: string, owner: string, change: Change, then: () => Promise<T>): Promise<T> {
    return this.#change(change, then, () => this.memory.read(slot, owner));
  }

  /** Durable first, and then true. */
  #change<T>(change: Change, then: () => Promise<T>, check?: () => Promise<unknown>): Promise<T> {
    return this.#then(async () => {
      await check?.();
      await this.journal.append(serialize(change)).catch(asQuota);
      await apply(this.memory, change);
      if (this.journal.length > this.#compactAt) await this.#compact();
      return then();
    });
  }

  async #compact(): Promise<void> {
    const all: Change = { call: 'all', given: await image(this.memory) };
    await this.journal.replace(serialize(all));
    this.#compactAt = Math.max(COMPACT_BYTES_MIN, COMPACT_FACTOR * this.journal.length);
  }

  /** One after the other. */
  #then<T>(step: () => Promise<T>): Promise<T> {
    if (this.#closing) return Promise.reject(new Error('the store is closed'));
    const result = this.#last.then(step);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

async function apply(memory: MemoryStore, change: Change): Promise<void> {
  switch (change.call) {
    case 'create':
      return void (await memory.create(...change.given));
    case 'take':
      return void (await memory.take(...change.given));
    case 'write':
      return memory.write(...change.given);
    case 'forget':
      return memory.forget(...change.given);
    case 'dismiss':
      return memory.dismiss(...change.given);
    case 'all':
      for (const one of change.given) await apply(memory, one);
  }
}

/** The changes by which an empty memory becomes this one. */
async function image(memory: MemoryStore): Promise<Change[]> {
  const changes: Change[] = [];
  for (const { slot, owner, usedAt } of await memory.slots()) {
    const put = await memory.read(slot, owner);
    changes.push({ call: 'create', given: [slot, owner, usedAt] });
    changes.push({ call: 'write', given: [slot, owner, [{ type: 'write', write: 0, put, delete: [] }]] });
  }
  // What was set aside is no slot's, so one is lent.
  const aside = await memory.aside();
  changes.push({ call: 'create', given: ['', '', 0] });
  changes.push({ call: 'write', given: ['', '', [{ type: 'write', write: 0, put: {}, delete: [], aside }]] });
  changes.push({ call: 'forget', given: ['', ''] });
  return changes;
}

/** A full disk by the name that browsers have for it (WEB-8). */
function asQuota(error: unknown): never {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') throw new DOMException(String(error), 'QuotaExceededError');
  throw error;
}
