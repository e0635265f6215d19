/** What a page has, or a test gives: the only place that reads the browser's globals, the clock and chance. */

/** A tab's own short memory: survives a reload, is copied when a tab is duplicated, and ends with the tab. */
export type TabMemory = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;

/** How pages of one origin hear each other. */
export type Channel = Pick<BroadcastChannel, 'postMessage' | 'close'> & {
  onmessage: ((event: MessageEvent) => void) | null;
};

/** The surroundings of a client. */
export interface Environment {
  readonly memory: TabMemory;
  /** Missing on plain http, except for localhost. */
  readonly locks: LockManager | undefined;
  openChannel(name: string): Channel;
  random(bytes: number): Uint8Array;
  /** Unix milliseconds. */
  now(): number;
  /** Milliseconds since some moment; nobody sets this clock. */
  steady(): number;
  /** A number in [0, 1). */
  chance(): number;
  /** Calls back when this page goes away, at the last moment. Returns how to stop that. */
  onLeave(listener: () => void): () => void;
  /** Calls back when it is worth trying to connect at once: the network is back, or somebody looks. */
  onWake(listener: () => void): () => void;
}

/** The surroundings of this page, or of this Node process. */
export function pageEnvironment(): Environment {
  return {
    memory: tabMemory(),
    locks: globalThis.navigator?.locks,
    openChannel,
    random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
    now: () => Date.now(),
    steady: () => performance.now(),
    chance: () => Math.random(),
    onLeave: (listener) => listen('pagehide', listener),
    onWake: (listener) => {
      const looked = (): void => {
        if (globalThis.document?.visibilityState !== 'hidden') listener();
      };
      const stops = ['online', 'pageshow', 'resume'].map((type) => listen(type, listener));
      stops.push(listen('visibilitychange', looked));
      return () => stops.forEach((stop) => stop());
    },
  };
}

/** Storage that was asked already. */
const asked = new WeakSet<object>();

/** Asks, once per page, that this origin's storage is not cleared when room gets scarce. Some browsers ask the user. */
export function askToPersist(): void {
  const storage: Partial<StorageManager> | undefined = globalThis.navigator?.storage;
  if (storage === undefined || asked.has(storage)) return;
  asked.add(storage);
  // Whatever the answer, there is nothing else to be done.
  void Promise.resolve(storage.persist?.()).catch(() => undefined);
}

function tabMemory(): TabMemory {
  try {
    return globalThis.sessionStorage ?? shortMemory();
  } catch {
    // The page's origin has no storage (a sandboxed frame).
    return shortMemory();
  }
}

function shortMemory(): TabMemory {
  const items = new Map<string, string>();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
  };
}

function openChannel(name: string): Channel {
  const channel: BroadcastChannel & { unref?: () => void } = new BroadcastChannel(name);
  // In Node an open channel would keep the process alive.
  channel.unref?.();
  return channel;
}

/** Those of the document, `resume` and `visibilitychange`, bubble up to the window. */
function listen(type: string, listener: () => void): () => void {
  globalThis.addEventListener?.(type, listener);
  return () => globalThis.removeEventListener?.(type, listener);
}
