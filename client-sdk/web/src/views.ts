/** What an app reads of a core: each view is the same array until something of its collection changes. */
import type { Conflict, Entry, OpenValue } from './api.js';
import type { CoreView } from './driver.js';
import { isLive, type OpenAct } from './protocol/entry.js';
import { compareUtf8, type Value } from './protocol/value.js';

interface Cached {
  entries?: readonly Entry[];
  conflicts?: readonly Conflict[];
  readonly lists: Map<string | null, readonly Entry[]>;
}

/** The views of the core at hand, which may be another one later. */
export class Views {
  readonly #cached = new Map<string, Cached>();

  constructor(
    private readonly core: () => CoreView,
    private readonly nameOf: (deviceUuid: string) => string | undefined,
  ) {}

  value(collection: string, key: string): Value | undefined {
    return this.core().entries(collection).get(key)?.shown.value;
  }

  entries(collection: string): readonly Entry[] {
    const cached = this.#of(collection);
    return (cached.entries ??= this.#entries(collection));
  }

  list(collection: string, list: string | null): readonly Entry[] {
    const { lists } = this.#of(collection);
    const items = lists.get(list) ?? this.#list(collection, list);
    lists.set(list, items);
    return items;
  }

  conflicts(collection: string): readonly Conflict[] {
    const cached = this.#of(collection);
    return (cached.conflicts ??= this.#conflicts(collection));
  }

  /** The collections of which somebody has read something. */
  get collections(): readonly string[] {
    return [...this.#cached.keys()];
  }

  /** What people call a device changed. Gives the collections in whose conflicts it may show. */
  forgetNames(): string[] {
    const shown = [...this.#cached].filter(([, { conflicts = [] }]) => conflicts.length > 0);
    for (const [, cached] of shown) delete cached.conflicts;
    return shown.map(([collection]) => collection);
  }

  /** Something of a collection changed. */
  forget(collection: string): void {
    this.#cached.delete(collection);
  }

  #of(collection: string): Cached {
    const cached = this.#cached.get(collection) ?? { lists: new Map<string | null, readonly Entry[]>() };
    this.#cached.set(collection, cached);
    return cached;
  }

  #entries(collection: string): Entry[] {
    const entries: Entry[] = [];
    for (const [key, { shown }] of this.core().entries(collection)) {
      if (isLive(shown)) entries.push(this.#entry(collection, key, shown.value));
    }
    return entries.sort(byKey);
  }

  #list(collection: string, list: string | null): Entry[] {
    const items = this.core().list(collection, list);
    return items.map(({ key, value }) => this.#entry(collection, key, value));
  }

  #entry(collection: string, key: string, value: Value): Entry {
    return { key, value, pending: this.core().isPending(collection, key) };
  }

  #conflicts(collection: string): Conflict[] {
    const conflicts: Conflict[] = [];
    for (const [key] of this.core().entries(collection)) {
      const open = this.core().openValues(collection, key);
      if (open.length > 0) conflicts.push({ key, values: open.map((act) => this.#openValue(act)) });
    }
    return conflicts.sort(byKey);
  }

  #openValue({ value, deviceUuid, timestamp }: OpenAct): OpenValue {
    return { value, deviceUuid, deviceName: this.nameOf(deviceUuid), timestamp };
  }
}

function byKey(a: { readonly key: string }, b: { readonly key: string }): number {
  return compareUtf8(a.key, b.key);
}
