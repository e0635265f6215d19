/**
 * The store in IndexedDB: one database per broker and stream, one row per intent.
 *
 * Rows are as plain as the core gives them; the layout has a version, and a newer page upgrades it.
 */
import type { DeviceRow, IntentRow, StoredRows } from '../core/messages.js';
import type { ValueMap } from '../protocol/value.js';
import { done, ended } from './request.js';
import {
  freshDevice,
  SlotLostError,
  StoreEndedError,
  type AsideRow,
  type SlotSummary,
  type Store,
  type StoreEnd,
  type StoreWrite,
} from './store.js';

/** 1 had no `aside`. */
const LAYOUT_VERSION = 2;

interface SlotRow {
  readonly slot: string;
  readonly owner: string;
  readonly usedAt: number;
  readonly device: DeviceRow;
  readonly scope?: 'browser';
}

/** By slot, but for `intents`: by slot and id. */
interface Rows {
  slots: SlotRow;
  intents: IntentRow;
  replicas: Uint8Array;
  schemas: ValueMap;
  /** By its own id: of no slot. */
  aside: AsideRow;
}

const ALL = ['slots', 'intents', 'replicas', 'schemas', 'aside'] as const satisfies (keyof Rows)[];

/** How long a wipe waits for a page that does not let go (frozen). Its database is empty by then. */
const BLOCKED_MS_MAX = 3_000;

/** See {@link Store}. */
export class IndexedDbStore implements Store {
  readonly kind = 'indexeddb';
  #end: StoreEnd | undefined;
  #tellEnd: (end: StoreEnd) => void = () => undefined;
  #db: IDBDatabase | undefined;

  private constructor(private readonly name: string) {}

  /** Rejects with a `VersionError` if a newer version of this client has stored something here. */
  static async open(name: string): Promise<IndexedDbStore> {
    const store = new IndexedDbStore(name);
    const opening = indexedDB.open(name, LAYOUT_VERSION);
    opening.onupgradeneeded = () => upgrade(opening.result);
    const db = await done(opening);
    // A page with a newer layout waits for this connection to go, and so does one that wipes (no version).
    db.onversionchange = ({ newVersion }) => {
      db.close();
      store.#ended(newVersion === null ? 'wiped' : 'newer_version');
    };
    db.onclose = () => store.#ended('lost');
    store.#db = db;
    return store;
  }

  async slots(): Promise<SlotSummary[]> {
    const transaction = this.#open.transaction(['slots', 'intents']);
    const rows = await done<SlotRow[]>(transaction.objectStore('slots').getAll());
    const count = (slot: string): Promise<number> =>
      done(transaction.objectStore('intents').count(intentsOf(slot)));
    const waiting = await Promise.all(rows.map(({ slot }) => count(slot)));
    return rows.map(({ device: _, ...row }, i) => ({ ...row, waiting: waiting[i] ?? 0 }));
  }

  async create(slot: string, owner: string, now: number, scope?: 'browser'): Promise<StoredRows> {
    const device = freshDevice(slot);
    const row: SlotRow = { slot, owner, usedAt: now, device, ...(scope && { scope }) };
    await this.#change(async (change) => done(change.objectStore('slots').put(row)));
    return { device };
  }

  take(slot: string, from: string, owner: string, now: number): Promise<StoredRows> {
    return this.#change(async (change) => {
      const row = await owned(change, slot, from);
      change.objectStore('slots').put({ ...row, owner, usedAt: now });
      return readRows(change, slot, row.device);
    });
  }

  async read(slot: string, owner: string): Promise<StoredRows> {
    const transaction = this.#open.transaction(ALL);
    const row = await owned(transaction, slot, owner);
    return readRows(transaction, slot, row.device);
  }

  async write(slot: string, owner: string, writes: readonly StoreWrite[]): Promise<void> {
    await this.#change(async (change) => {
      const row = await owned(change, slot, owner);
      for (const write of writes) apply(change, row, write);
    });
  }

  async owns(slot: string, owner: string): Promise<boolean> {
    return (await rowOf(this.#open.transaction('slots'), 'slots', slot))?.owner === owner;
  }

  async forget(slot: string, owner: string): Promise<void> {
    await this.#change(async (change) => {
      await owned(change, slot, owner);
      for (const one of ALL) change.objectStore(one).delete(one === 'intents' ? intentsOf(slot) : slot);
    });
  }

  async aside(): Promise<AsideRow[]> {
    return done(this.#open.transaction('aside').objectStore('aside').getAll());
  }

  async dismiss(id: string): Promise<void> {
    await this.#change(async (change) => done(change.objectStore('aside').delete(id)));
  }

  /** Empties it first: a page that does not let go keeps the database in being, but nothing in it. */
  async wipe(): Promise<void> {
    await this.#change(async (change) => ALL.forEach((one) => change.objectStore(one).clear()));
    this.#end ??= 'wiped';
    this.close();
    await soon(done(indexedDB.deleteDatabase(this.name)), BLOCKED_MS_MAX);
  }

  onEnd(listener: (end: StoreEnd) => void): void {
    this.#tellEnd = listener;
    if (this.#end !== undefined) listener(this.#end);
  }

  close(): void {
    this.#db?.close();
  }

  get #open(): IDBDatabase {
    if (this.#db === undefined || this.#end !== undefined) throw new StoreEndedError(this.#end ?? 'lost');
    return this.#db;
  }

  #ended(end: StoreEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#tellEnd(end);
  }

  /** One transaction, on disk when it resolves, undone when `work` throws. */
  async #change<T>(work: (change: IDBTransaction) => Promise<T>): Promise<T> {
    const change = this.#open.transaction(ALL, 'readwrite', { durability: 'strict' });
    const through = ended(change);
    try {
      const result = await work(change);
      const error = await through;
      if (error !== undefined) throw error;
      return result;
    } catch (error) {
      abort(change);
      // Where the browser ended it, for want of room, its requests only say that it was ended.
      throw change.error ?? error;
    }
  }
}

/** From any older layout, or none. */
function upgrade(db: IDBDatabase): void {
  for (const one of ALL)
    if (!db.objectStoreNames.contains(one))
      db.createObjectStore(one, one === 'slots' ? { keyPath: 'slot' } : {});
}

async function soon(gone: Promise<unknown>, msMax: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, msMax)));
  await Promise.race([gone, late]);
  clearTimeout(timer);
}

function abort(change: IDBTransaction): void {
  try {
    change.abort();
  } catch {
    // It has ended by itself, which is what is wanted.
  }
}

function rowOf<N extends keyof Rows>(
  transaction: IDBTransaction,
  name: N,
  slot: string,
): Promise<Rows[N] | undefined> {
  return done<Rows[N] | undefined>(transaction.objectStore(name).get(slot));
}

async function owned(transaction: IDBTransaction, slot: string, owner: string): Promise<SlotRow> {
  const row = await rowOf(transaction, 'slots', slot);
  if (row?.owner !== owner) throw new SlotLostError();
  return row;
}

async function readRows(transaction: IDBTransaction, slot: string, device: DeviceRow): Promise<StoredRows> {
  const intents = await done<IntentRow[]>(transaction.objectStore('intents').getAll(intentsOf(slot)));
  const replica = await rowOf(transaction, 'replicas', slot);
  const schema = await rowOf(transaction, 'schemas', slot);
  return { device, intents, ...(replica && { replica }), ...(schema && { schema }) };
}

/** A request that fails ends the transaction with its error. */
function apply(change: IDBTransaction, row: SlotRow, write: StoreWrite): void {
  const { put, delete: deleted, aside = [] } = write;
  const intents = change.objectStore('intents');
  for (const id of deleted) intents.delete([row.slot, id]);
  for (const one of aside) change.objectStore('aside').put(one, one.id);
  for (const intent of put.intents ?? []) intents.put(intent, [row.slot, intent.id]);
  if (put.device !== undefined) change.objectStore('slots').put({ ...row, device: put.device });
  if (put.replica !== undefined) change.objectStore('replicas').put(put.replica, row.slot);
  if (put.schema !== undefined) change.objectStore('schemas').put(put.schema, row.slot);
}

/** All intents of a slot: an array sorts above every number. */
function intentsOf(slot: string): IDBKeyRange {
  return IDBKeyRange.bound([slot], [slot, []]);
}
