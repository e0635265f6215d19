/** Browser tabs, as far as a client can tell: each with its own memory, all with one IndexedDB. */
import 'fake-indexeddb/auto';
import { Client } from '../src/client.js';
import { streamId } from '../src/protocol/ids.js';
import { IndexedDbStore } from '../src/storage/indexeddb.js';
import type { Store } from '../src/storage/store.js';
import { pageEnvironment, type Channel, type Environment } from '../src/tabs/environment.js';
import { BrowserScope } from '../src/tabs/browser/scope.js';
import { Tenancy } from '../src/tabs/tenancy.js';
import type { FakeBroker } from './broker.js';

const STREAM = streamId('music', null);

interface BrowserOptions {
  readonly locks: boolean;
  readonly name?: string | null;
  readonly deviceScope?: 'tab' | 'browser';
}

/** One profile of a browser: what its tabs share. */
export class Browser {
  static #count = 0;
  readonly name = `browser ${++Browser.#count}`;
  readonly #locks: FakeLocks | undefined;
  readonly #deviceName: string | null;
  readonly #deviceScope: 'tab' | 'browser';

  constructor(
    readonly broker: FakeBroker,
    { locks, name = null, deviceScope = 'tab' }: BrowserOptions,
  ) {
    this.#locks = locks ? new FakeLocks() : undefined;
    this.#deviceName = name;
    this.#deviceScope = deviceScope;
  }

  openStore(): Promise<IndexedDbStore> {
    return IndexedDbStore.open(this.name);
  }

  /** Opens a page in a tab with this memory; a fresh tab has none. */
  async open(memory = new Map<string, string>(), store?: Store): Promise<Page> {
    const environment = new PageEnvironment(memory, this.#locks?.page());
    const tenancy = new Tenancy(this.name, store ?? (await this.openStore()), environment);
    const scope =
      this.#deviceScope === 'browser' && environment.locks !== undefined
        ? new BrowserScope(this.name, tenancy, environment.locks)
        : undefined;
    const transport = this.broker.transport(this.#deviceName);
    const client = await Client.open({ stream: STREAM, tenancy, transport, scope });
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
  /** Code of a frozen page does not run: it hears nobody, and what it says is not heard. */
  isFrozen = false;
  /** Nobody hears what it says. */
  isMute = false;
  #saying: () => void = () => undefined;
  readonly #held: (() => void)[] = [];

  constructor(
    private readonly items: Map<string, string>,
    readonly locks: LockManager | undefined,
  ) {}

  openChannel(name: string): Channel {
    const channel = this.#page.openChannel(name);
    const page: Channel = {
      onmessage: null,
      postMessage: (word) =>
        this.#whenAwake(() => {
          if (!this.isMute) channel.postMessage(word);
          this.#saying();
        }),
      close: () => channel.close(),
    };
    channel.onmessage = (event) => this.#whenAwake(() => page.onmessage?.(event));
    return page;
  }

  /** Calls back with the next word of this page that is no question. */
  whenSaid(then: () => void): Promise<void> {
    return new Promise((said) => {
      this.#saying = () => {
        this.#saying = () => undefined;
        then();
        said();
      };
    });
  }

  /** The page runs again: first what waited for that. */
  thaw(): void {
    this.isFrozen = false;
    for (const one of this.#held.splice(0)) one();
  }

  #whenAwake(then: () => void): void {
    if (this.isFrozen) this.#held.push(then);
    else then();
  }

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

/** Exclusive locks with `ifAvailable`, `signal` and `steal`, which is what the client asks for. */
class FakeLocks {
  readonly #held = new Map<string, Held>();

  page(): LockManager {
    return { request: this.#request.bind(this), query: () => Promise.resolve({}) } as LockManager;
  }

  async #request(name: string, options: LockOptions, granted: Granted): Promise<unknown> {
    if (options.steal === true) this.#held.get(name)?.stolen(new DOMException('stolen', 'AbortError'));
    else if (this.#held.has(name) && options.ifAvailable === true) return granted(null);
    else
      while (this.#held.has(name)) await Promise.race([this.#held.get(name)?.over, aborted(options.signal)]);
    const held = new Held();
    this.#held.set(name, held);
    try {
      await Promise.race([granted({ name, mode: 'exclusive' }), held.theft]);
    } finally {
      if (this.#held.get(name) === held) this.#held.delete(name);
      held.end();
    }
    return undefined;
  }
}

class Held {
  stolen!: (error: Error) => void;
  end!: () => void;
  readonly theft = new Promise<never>((_, reject) => (this.stolen = reject));
  /** Nobody waits for a lock that was stolen: it is somebody's then. */
  readonly over = new Promise<void>((resolve) => (this.end = resolve));
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)));
}
