/**
 * The store in IndexedDB: one database per broker and stream, one row per intent.
 *
 * Rows are as plain as the core gives them; the layout has a version, and a newer page upgrades it.
 */
import {
  deleteDB,
  openDB,
  type DBSchema,
  type IDBPDatabase,
  type IDBPTransaction,
  type StoreNames,
} from 'idb';
import type { DeviceRow, IntentRow, StoredRows, Write } from '../core/messages.js';
import type { ValueMap } from '../protocol/value.js';
import {
  freshDevice,
  SlotLostError,
  StoreEndedError,
  type SlotSummary,
  type Store,
  type StoreEnd,
} from './store.js';

const LAYOUT_VERSION = 1;

interface SlotRow {
  readonly slot: string;
  readonly owner: string;
  readonly usedAt: number;
  readonly device: DeviceRow;
}

interface Layout extends DBSchema {
  slots: { key: string; value: SlotRow };
  /** Key: slot and id. */
  intents: { key: [string, number]; value: IntentRow };
  replicas: { key: string; value: Uint8Array };
  schemas: { key: string; value: ValueMap };
}

const ALL: StoreNames<Layout>[] = ['slots', 'intents', 'replicas', 'schemas'];

type Reading = IDBPTransaction<Layout, StoreNames<Layout>[], 'readonly'>;
type Change = IDBPTransaction<Layout, StoreNames<Layout>[], 'readwrite'>;

/** How long a wipe waits for a page that does not let go (frozen). Its database is empty by then. */
const BLOCKED_MS_MAX = 3_000;

/** See {@link Store}. */
export class IndexedDbStore implements Store {
  readonly kind = 'indexeddb';
  #end: StoreEnd | undefined;
  #tellEnd: (end: StoreEnd) => void = () => undefined;
  #db: IDBPDatabase<Layout> | undefined;

  private constructor(private readonly name: string) {}

  /** Rejects with a `VersionError` if a newer version of this client has stored something here. */
  static async open(name: string): Promise<IndexedDbStore> {
    const store = new IndexedDbStore(name);
    store.#db = await openDB<Layout>(name, LAYOUT_VERSION, {
      upgrade: (fresh) =>
        ALL.forEach((one) => fresh.createObjectStore(one, one === 'slots' ? { keyPath: 'slot' } : {})),
      // A page with a newer layout waits for this connection to go, and so does one that wipes (no version).
      blocking: (_current, wanted, event) => {
        (event.target as IDBDatabase).close();
        store.#ended(wanted === null ? 'wiped' : 'newer_version');
      },
      terminated: () => store.#ended('lost'),
    });
    return store;
  }

  async slots(): Promise<SlotSummary[]> {
    const transaction = this.#open.transaction(['slots', 'intents']);
    const rows = await transaction.objectStore('slots').getAll();
    const count = (slot: string): Promise<number> =>
      transaction.objectStore('intents').count(intentsOf(slot));
    const waiting = await Promise.all(rows.map(({ slot }) => count(slot)));
    return rows.map(({ slot, owner, usedAt }, i) => ({ slot, owner, usedAt, waiting: waiting[i] ?? 0 }));
  }

  async create(slot: string, owner: string, now: number): Promise<StoredRows> {
    const device = freshDevice(slot);
    await this.#change((change) => change.objectStore('slots').put({ slot, owner, usedAt: now, device }));
    return { device };
  }

  take(slot: string, from: string, owner: string, now: number): Promise<StoredRows> {
    return this.#change(async (change) => {
      const row = await owned(change, slot, from);
      await change.objectStore('slots').put({ ...row, owner, usedAt: now });
      return readRows(change, slot, row.device);
    });
  }

  async read(slot: string, owner: string): Promise<StoredRows> {
    const transaction = this.#open.transaction(ALL);
    const row = await transaction.objectStore('slots').get(slot);
    if (row?.owner !== owner) throw new SlotLostError();
    return readRows(transaction, slot, row.device);
  }

  async write(slot: string, owner: string, writes: readonly Write[]): Promise<void> {
    await this.#change(async (change) => {
      const row = await owned(change, slot, owner);
      await Promise.all(writes.flatMap((write) => apply(change, row, write)));
    });
  }

  async owns(slot: string, owner: string): Promise<boolean> {
    return (await this.#open.get('slots', slot))?.owner === owner;
  }

  async forget(slot: string, owner: string): Promise<void> {
    await this.#change(async (change) => {
      await owned(change, slot, owner);
      await Promise.all([
        change.objectStore('slots').delete(slot),
        change.objectStore('intents').delete(intentsOf(slot)),
        change.objectStore('replicas').delete(slot),
        change.objectStore('schemas').delete(slot),
      ]);
    });
  }

  /** Empties it first: a page that does not let go keeps the database in being, but nothing in it. */
  async wipe(): Promise<void> {
    await this.#change((change) => Promise.all(ALL.map((one) => change.objectStore(one).clear())));
    this.#end ??= 'wiped';
    this.close();
    await soon(deleteDB(this.name), BLOCKED_MS_MAX);
  }

  onEnd(listener: (end: StoreEnd) => void): void {
    this.#tellEnd = listener;
    if (this.#end !== undefined) listener(this.#end);
  }

  close(): void {
    this.#db?.close();
  }

  get #open(): IDBPDatabase<Layout> {
    if (this.#db === undefined || this.#end !== undefined) throw new StoreEndedError(this.#end ?? 'lost');
    return this.#db;
  }

  #ended(end: StoreEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#tellEnd(end);
  }

  /** One transaction, on disk when it resolves, undone when `work` throws. */
  async #change<T>(work: (change: Change) => Promise<T>): Promise<T> {
    const change = this.#open.transaction(ALL, 'readwrite', { durability: 'strict' });
    // Watched from the start, so that an abort below is never an unhandled rejection.
    const done = change.done.then(
      () => undefined,
      (error: unknown) => error ?? new Error('the transaction was aborted'),
    );
    try {
      const result = await work(change);
      const error = await done;
      if (error !== undefined) throw error;
      return result;
    } catch (error) {
      abort(change);
      // Where the browser ended it, for want of room, its requests only say that it was ended.
      throw change.error ?? error;
    }
  }
}

async function soon(done: Promise<void>, msMax: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, msMax)));
  await Promise.race([done, late]);
  clearTimeout(timer);
}

function abort(change: Change): void {
  try {
    change.abort();
  } catch {
    // It has ended by itself, which is what is wanted.
  }
}

async function owned(change: Change, slot: string, owner: string): Promise<SlotRow> {
  const row = await change.objectStore('slots').get(slot);
  if (row?.owner !== owner) throw new SlotLostError();
  return row;
}

async function readRows(change: Reading | Change, slot: string, device: DeviceRow): Promise<StoredRows> {
  const intents = await change.objectStore('intents').getAll(intentsOf(slot));
  const replica = await change.objectStore('replicas').get(slot);
  const schema = await change.objectStore('schemas').get(slot);
  return { device, intents, ...(replica && { replica }), ...(schema && { schema }) };
}

function apply(change: Change, row: SlotRow, { put, delete: deleted }: Write): Promise<unknown>[] {
  const intents = change.objectStore('intents');
  return [
    ...deleted.map((id) => intents.delete([row.slot, id])),
    ...(put.intents ?? []).map((intent) => intents.put(intent, [row.slot, intent.id])),
    ...(put.device === undefined ? [] : [change.objectStore('slots').put({ ...row, device: put.device })]),
    ...(put.replica === undefined ? [] : [change.objectStore('replicas').put(put.replica, row.slot)]),
    ...(put.schema === undefined ? [] : [change.objectStore('schemas').put(put.schema, row.slot)]),
  ];
}

/** All intents of a slot: an array sorts above every number. */
function intentsOf(slot: string): IDBKeyRange {
  return IDBKeyRange.bound([slot], [slot, []]);
}
