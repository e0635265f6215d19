/** Browser tabs, as far as a client can tell: each with its own memory, all with one IndexedDB. */
import 'fake-indexeddb/auto';
import { Client } from '../src/client.js';
import { streamId } from '../src/protocol/ids.js';
import { IndexedDbStore } from '../src/storage/indexeddb.js';
import type { Store } from '../src/storage/store.js';
import { pageEnvironment, type Environment } from '../src/tabs/environment.js';
import { Tenancy } from '../src/tabs/tenancy.js';
import type { FakeBroker } from './broker.js';

const STREAM = streamId('music', null);

/** One profile of a browser: what its tabs share. */
export class Browser {
  static #count = 0;
  readonly name = `browser ${++Browser.#count}`;
  readonly #locks: FakeLocks | undefined;
  readonly #deviceName: string | null;

  constructor(
    readonly broker: FakeBroker,
    { locks, name = null }: { readonly locks: boolean; readonly name?: string | null },
  ) {
    this.#locks = locks ? new FakeLocks() : undefined;
    this.#deviceName = name;
  }

  openStore(): Promise<IndexedDbStore> {
    return IndexedDbStore.open(this.name);
  }

  /** Opens a page in a tab with this memory; a fresh tab has none. */
  async open(memory = new Map<string, string>(), store?: Store): Promise<Page> {
    const environment = new PageEnvironment(memory, this.#locks?.page());
    const tenancy = new Tenancy(this.name, store ?? (await this.openStore()), environment);
    const client = await Client.open({
      stream: STREAM,
      tenancy,
      transport: this.broker.transport(this.#deviceName),
    });
    return new Page(client, environment, memory);
  }
}

/** An open page. */
export class Page {
  constructor(
    readonly client: Client,
    readonly environment: PageEnvironment,
    readonly memory: Map<string, string>,
  ) {}

  /** The page goes away as pages do: what it had in memory is gone, nothing is tidied up. */
  async vanish(): Promise<void> {
    this.environment.leave();
    // Stands for the end of all its code: connections drop, nothing is written after.
    await this.client.close();
  }
}

class PageEnvironment implements Environment {
  readonly #page = pageEnvironment();
  readonly #leaving = new Set<() => void>();
  readonly #waking = new Set<() => void>();
  /** What somebody has set this machine's clock by, in ms. */
  clockIsOffBy = 0;
  /** Retries are at once. */
  luck = 0;
  readonly steady = this.#page.steady;
  readonly random = this.#page.random;
  readonly openChannel = this.#page.openChannel;

  constructor(
    private readonly items: Map<string, string>,
    readonly locks: LockManager | undefined,
  ) {}

  now(): number {
    return this.#page.now() + this.clockIsOffBy;
  }

  chance(): number {
    return this.luck;
  }

  get memory(): Environment['memory'] {
    return {
      getItem: (key) => this.items.get(key) ?? null,
      setItem: (key, value) => void this.items.set(key, value),
      removeItem: (key) => void this.items.delete(key),
    };
  }

  onLeave(listener: () => void): () => void {
    this.#leaving.add(listener);
    return () => this.#leaving.delete(listener);
  }

  onWake(listener: () => void): () => void {
    this.#waking.add(listener);
    return () => this.#waking.delete(listener);
  }

  /** The network is back, or somebody looks at the page. */
  wake(): void {
    for (const listener of this.#waking) listener();
  }

  leave(): void {
    for (const listener of this.#leaving) listener();
  }
}

type Granted = (lock: Lock | null) => unknown;

/** Exclusive locks with `ifAvailable` and `signal`, which is what the client asks for. */
class FakeLocks {
  readonly #held = new Map<string, Promise<unknown>>();

  page(): LockManager {
    return { request: this.#request.bind(this), query: () => Promise.resolve({}) } as LockManager;
  }

  async #request(name: string, options: LockOptions, granted: Granted): Promise<unknown> {
    if (this.#held.has(name) && options.ifAvailable === true) return granted(null);
    while (this.#held.has(name)) await Promise.race([this.#held.get(name), aborted(options.signal)]);
    const held = Promise.resolve(granted({ name, mode: 'exclusive' }));
    this.#held.set(name, held);
    await held;
    this.#held.delete(name);
    return undefined;
  }
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)));
}
