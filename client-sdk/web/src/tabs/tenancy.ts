/**
 * Which slot of the store is this page's (WEB-1 … WEB-5).
 *
 * - WEB-1 A tab keeps its slot over reloads: its memory (sessionStorage) names it. A page that leaves writes its
 *   owner's word there, so that the reloaded page knows at once that the slot is free.
 * - WEB-2 A slot that a live page holds is never taken: a duplicated tab, which has a copy of the memory, gets another.
 * - WEB-3 A tab without a slot adopts one that no live page holds, first one with waiting intents, then the one used
 *   last. So a page that was closed and opened again is the same device, with its outbox. Only without such a slot a
 *   new device is minted.
 * - WEB-4 Taking a slot changes its owner's word if it is still the one that was seen; every write checks it. A page
 *   that lost its slot to another finds out before it writes or connects, and moves to another slot. (One whose
 *   connection goes to a copy of this profile keeps its slot, and becomes another device in it: FORK-5.)
 * - WEB-5 What waits in slots that no live page holds is delivered by any page that is online (`courier.ts`).
 * - WEB-16 All tabs of one device share one slot; whoever leads them holds it (`browser/`).
 */
import type { StoredRows } from '../core/messages.js';
import { uuidV4 } from '../protocol/ids.js';
import { SlotLostError, type SlotSummary, type Store } from '../storage/store.js';
import type { Environment } from './environment.js';
import { openLiveness, type Knowledge, type Liveness } from './liveness.js';

/** By what the slot of all tabs is held. */
export const SHARED = 'browser';

/** A slot that this page holds. */
export interface Tenure {
  readonly slot: string;
  readonly owner: string;
  readonly stored: StoredRows;
  /** By what its life is proved (WEB-2), where that is not the slot's own name. */
  readonly held?: string;
}

/** This page among the pages that share a store. */
export class Tenancy {
  readonly #liveness: Liveness;
  readonly #slotKey: string;
  readonly #leftKey: string;
  readonly #stopListening: () => void;
  #own: Tenure | undefined;

  constructor(
    name: string,
    readonly store: Store,
    readonly environment: Environment,
  ) {
    this.#liveness = openLiveness(name, environment);
    this.#slotKey = `${name} slot`;
    this.#leftKey = `${name} left`;
    this.#stopListening = environment.onLeave(() => this.#leave());
  }

  /** Finds this tab's slot, another one than `lost`. */
  async settle(lost?: string): Promise<Tenure> {
    const { memory } = this.environment;
    const summaries = (await this.store.slots()).filter(({ slot }) => slot !== lost);
    const tenure = (await this.#keep(summaries)) ?? (await this.#adopt(summaries)) ?? (await this.#mint());
    memory.setItem(this.#slotKey, tenure.slot);
    memory.removeItem(this.#leftKey);
    this.#own = tenure;
    return tenure;
  }

  /** Takes the slot of all tabs, whoever has it: this page leads them. Rejects with {@link SlotLostError} if another page is quicker. */
  async settleShared(): Promise<Tenure> {
    const { store, environment } = this;
    const [summary] = byUse(await store.slots()).filter(({ scope }) => scope === SHARED);
    const slot = summary?.slot ?? this.newDevice();
    const owner = this.newDevice();
    const now = environment.now();
    const stored =
      summary === undefined
        ? await store.create(slot, owner, now, SHARED)
        : await store.take(slot, summary.owner, owner, now);
    return (this.#own = { slot, owner, stored });
  }

  /** The slots that are not this page's, most recently used first. */
  async others(): Promise<SlotSummary[]> {
    return byUse(await this.store.slots()).filter(({ slot }) => slot !== this.#own?.slot);
  }

  /** Takes a slot unless a live page holds it (WEB-2, WEB-4). */
  async claim(summary: SlotSummary, knowledge?: Knowledge): Promise<Tenure | undefined> {
    const { slot, scope } = summary;
    const held = scope ?? slot;
    if (!(await this.#liveness.claim(held, knowledge))) return undefined;
    const owner = this.newDevice();
    try {
      const stored = await this.store.take(slot, summary.owner, owner, this.environment.now());
      return { slot, owner, stored, held };
    } catch (error) {
      this.#liveness.release(held);
      if (error instanceof SlotLostError) return undefined;
      throw error;
    }
  }

  /** Gives a slot free, for another page to take. */
  release({ slot, held = slot }: Tenure): void {
    this.#liveness.release(held);
  }

  /** A fresh random UUID. */
  newDevice(): string {
    return uuidV4(this.environment.random(16));
  }

  /** The slots are gone, and so is what this tab remembers of its own. */
  forget(): void {
    this.#own = undefined;
    this.environment.memory.removeItem(this.#slotKey);
    this.environment.memory.removeItem(this.#leftKey);
  }

  close(): void {
    this.#leave();
    this.#stopListening();
    this.#liveness.close();
    this.store.close();
  }

  /** WEB-1: the slot that this tab had before. */
  async #keep(summaries: readonly SlotSummary[]): Promise<Tenure | undefined> {
    const { memory } = this.environment;
    const slot = memory.getItem(this.#slotKey);
    const summary = summaries.find((candidate) => candidate.slot === slot);
    const left = summary !== undefined && summary.owner === memory.getItem(this.#leftKey);
    return summary && this.claim(summary, left ? 'left' : 'maybe reloaded');
  }

  /** WEB-3. */
  async #adopt(summaries: readonly SlotSummary[]): Promise<Tenure | undefined> {
    const waitingFirst = byUse(summaries).sort((a, b) => Number(b.waiting > 0) - Number(a.waiting > 0));
    for (const summary of waitingFirst) {
      const tenure = await this.claim(summary);
      if (tenure !== undefined) return tenure;
    }
    return undefined;
  }

  async #mint(): Promise<Tenure> {
    const slot = this.newDevice();
    const owner = this.newDevice();
    await this.#liveness.claim(slot, 'left');
    const stored = await this.store.create(slot, owner, this.environment.now());
    return { slot, owner, stored };
  }

  #leave(): void {
    if (this.#own !== undefined) this.environment.memory.setItem(this.#leftKey, this.#own.owner);
  }
}

/** Most recently used first. */
function byUse(summaries: readonly SlotSummary[]): SlotSummary[] {
  return [...summaries].sort((a, b) => b.usedAt - a.usedAt);
}
