/**
 * Makes writes durable in their order. Those that arise while one is on its way share the next transaction.
 *
 * A full disk ends nothing by itself (WEB-8). What only makes the next start quicker is left out; a new intent fails, and
 * its publisher hears of it; whatever else has to be durable waits for room.
 */
import type { ValueMap } from './protocol/value.js';
import type { StoreWrite } from './storage/store.js';

/** When to try again what waits for room. */
const ROOM_AGAIN_MS = 5_000;

/** What a writer works with. */
export interface WriterOptions {
  /** Makes writes durable, all or none. */
  store(writes: readonly StoreWrite[]): Promise<void>;
  /** Whether somebody waits for a new intent in this write. */
  isAwaited(write: StoreWrite): boolean;
  /** These are durable, or need not be, and so are all before them. */
  persisted(writes: readonly StoreWrite[]): void;
  /** Nothing more is written. */
  failed(error: unknown): void;
  /** The storage is full; what became of it. */
  full(detail: string): void;
}

/** For people. */
export const FULL = 'the storage that the browser gives this page is full';

/** A new intent found no room. */
export class FullError extends Error {
  override readonly name = 'FullError';
  constructor(cause: unknown) {
    super(FULL, { cause });
  }
}

/** See above. */
export class Writer {
  #queue: StoreWrite[] = [];
  #running: Promise<void> | undefined;
  #stopped = false;
  #goOn: () => void = () => undefined;
  /** A schema that found no room; a replica without it would be of no use. */
  #owed: ValueMap | undefined;

  constructor(private readonly options: WriterOptions) {}

  write(write: StoreWrite): void {
    this.#queue.push(write);
    this.#goOn();
    this.#running ??= this.#run();
  }

  /** Resolves once everything is durable, or waits for room that is not there. */
  async finish(): Promise<void> {
    this.#stopped = true;
    this.#goOn();
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#queue.length > 0) await this.#next();
    } catch (error) {
      this.#queue = [];
      this.options.failed(error);
    }
    this.#running = undefined;
  }

  async #next(): Promise<void> {
    const batch = this.#queue.splice(0).map((write) => this.#paid(write));
    const error = (await this.#try(batch)) && (await this.#tryLighter(batch));
    if (error === undefined) return this.options.persisted(batch);
    if (batch.some((write) => this.options.isAwaited(write))) throw new FullError(error);
    this.options.full(`${FULL}: what has to be stored next waits for room`);
    if (this.#stopped) return;
    this.#queue.unshift(...batch);
    await this.#room();
  }

  /** What the browser says if there is no room. */
  async #try(batch: readonly StoreWrite[]): Promise<unknown> {
    try {
      await this.options.store(batch);
    } catch (error) {
      if (isQuota(error)) return error;
      throw error;
    }
    if (batch.some(({ put }) => put.replica !== undefined)) this.#owed = undefined;
    return undefined;
  }

  /** Rows that a replica stands for stay while it is not stored: what was visible stays visible (STORE-3). */
  async #tryLighter(batch: readonly StoreWrite[]): Promise<unknown> {
    const light = batch.map((write) => (write.put.replica === undefined ? write : withoutReplica(write)));
    const error = await this.#try(light);
    if (error !== undefined) return error;
    for (const { put } of batch) this.#owed = put.schema ?? this.#owed;
    this.options.full(`${FULL}: the replica was not stored, the next start is slower`);
    return undefined;
  }

  #paid(write: StoreWrite): StoreWrite {
    const { put } = write;
    if (this.#owed === undefined || put.replica === undefined || put.schema !== undefined) return write;
    return { ...write, put: { ...put, schema: this.#owed } };
  }

  /** Waits for a while, or until there is something else to try. */
  #room(): Promise<void> {
    return new Promise((goOn) => {
      const timer = setTimeout(goOn, ROOM_AGAIN_MS);
      this.#goOn = () => {
        clearTimeout(timer);
        goOn();
      };
    });
  }
}

/** What is set aside leaves the outbox all the same: no replica stands for it, and it must not be in both places (TOLD-3). */
function withoutReplica({ put: { replica: _, schema: __, ...put }, ...write }: StoreWrite): StoreWrite {
  return { ...write, put, delete: (write.aside ?? []).map(({ intent }) => intent.id) };
}

function isQuota(error: unknown): boolean {
  return error instanceof Error && error.name === 'QuotaExceededError';
}
