/** A store that lasts as long as the page: for tests, and where nothing durable is to be had. */
import type { IntentRow, StoredRows } from '../core/messages.js';
import {
  freshDevice,
  SlotLostError,
  type AsideRow,
  type SlotSummary,
  type Store,
  type StoreWrite,
} from './store.js';

interface Slot {
  readonly scope: Pick<SlotSummary, 'scope'>;
  owner: string;
  usedAt: number;
  rows: Omit<StoredRows, 'intents'>;
  readonly intents: Map<number, IntentRow>;
}

/** See {@link Store}. */
export class MemoryStore implements Store {
  readonly kind = 'memory';
  readonly #slots = new Map<string, Slot>();
  /** Oldest first. */
  readonly #aside = new Map<string, AsideRow>();

  async slots(): Promise<SlotSummary[]> {
    return [...this.#slots].map(([slot, { scope, owner, usedAt, intents }]) => ({
      ...scope,
      slot,
      owner,
      usedAt,
      waiting: intents.size,
    }));
  }

  async create(slot: string, owner: string, now: number, scope?: 'browser'): Promise<StoredRows> {
    const rows = { device: freshDevice(slot) };
    this.#slots.set(slot, { scope: scope ? { scope } : {}, owner, usedAt: now, rows, intents: new Map() });
    return rows;
  }

  async take(slot: string, from: string, owner: string, now: number): Promise<StoredRows> {
    const held = this.#owned(slot, from);
    held.owner = owner;
    held.usedAt = now;
    return this.read(slot, owner);
  }

  async read(slot: string, owner: string): Promise<StoredRows> {
    const { rows, intents } = this.#owned(slot, owner);
    return { ...rows, intents: [...intents.values()] };
  }

  async write(slot: string, owner: string, writes: readonly StoreWrite[]): Promise<void> {
    const held = this.#owned(slot, owner);
    for (const write of writes) apply(held, write);
    for (const row of writes.flatMap(({ aside = [] }) => aside)) this.#aside.set(row.id, row);
  }

  async owns(slot: string, owner: string): Promise<boolean> {
    return this.#slots.get(slot)?.owner === owner;
  }

  async forget(slot: string, owner: string): Promise<void> {
    this.#owned(slot, owner);
    this.#slots.delete(slot);
  }

  async aside(): Promise<AsideRow[]> {
    return [...this.#aside.values()];
  }

  async dismiss(id: string): Promise<void> {
    this.#aside.delete(id);
  }

  async wipe(): Promise<void> {
    this.#aside.clear();
    this.#slots.clear();
  }

  /** No other page has it. */
  onEnd(): void {}

  close(): void {}

  #owned(slot: string, owner: string): Slot {
    const held = this.#slots.get(slot);
    if (held?.owner !== owner) throw new SlotLostError();
    return held;
  }
}

function apply(held: Slot, { put, delete: deleted }: StoreWrite): void {
  for (const id of deleted) held.intents.delete(id);
  for (const row of put.intents ?? []) held.intents.set(row.id, row);
  const { intents: _, ...rows } = put;
  held.rows = { ...held.rows, ...rows };
}
