/**
 * What a browser keeps for one stream: slots. A slot is one device with its outbox and its replica.
 *
 * Several tabs share one store, one slot each. A slot names its owner, a random word that one page mints
 * for itself; every write checks it in the same transaction. So a page that was taken for dead (frozen, suspended)
 * cannot write into a slot that another page has taken over since (WEB-4).
 */
import type { DeviceRow, IntentRow, StoredRows, Write } from '../core/messages.js';

/** A slot as its list shows it. */
export interface SlotSummary {
  readonly slot: string;
  /** Who may write it; it may be a page that is gone. */
  readonly owner: string;
  /** When a page last took it, Unix ms. */
  readonly usedAt: number;
  /** How many intents are stored in it. */
  readonly waiting: number;
  /** Whose it is, if not one tab's: all tabs' (WEB-16). */
  readonly scope?: 'browser';
}

/** Another page has taken over this slot. */
export class SlotLostError extends Error {
  override readonly name = 'SlotLostError';
  constructor() {
    super('another tab has taken over this device');
  }
}

/** Why a store ended although this page did not close it (WEB-7, WEB-9). */
export type StoreEnd = 'wiped' | 'newer_version' | 'lost';

const ENDS: Readonly<Record<StoreEnd, string>> = {
  wiped: 'what this browser kept for this user was wiped; open again to begin anew',
  newer_version: 'another tab has a newer version of this page; reload this one',
  lost: 'the browser took the storage of this page away; reload it',
};

/** The store has ended: nothing is written any more. */
export class StoreEndedError extends Error {
  override readonly name = 'StoreEndedError';
  constructor(readonly end: StoreEnd) {
    super(ENDS[end]);
  }
}

/** The row of a device that has done nothing yet. */
export function freshDevice(deviceUuid: string): DeviceRow {
  return { deviceUuid, nextDeviceSeq: 1, offered: 0, timestamp: 0, counter: 0 };
}

/** An intent that will never be saved, kept until the app dismisses it. It is no slot's, because slots come and go. */
export interface AsideRow {
  /** Later ones sort higher, as text. See {@link asideId}. */
  readonly id: string;
  /** As it was in the outbox of its slot. */
  readonly intent: IntentRow;
  readonly refusal: string;
  readonly reason: string;
}

/** A write of the core's, and what it sets aside: in the outbox or here, and never in both (TOLD-3). */
export interface StoreWrite extends Write {
  readonly aside?: readonly AsideRow[];
}

/** Of what was set aside at a time (Unix ms) out of a slot, where intents have numbers. */
export function asideId(at: number, slot: string, intent: number): string {
  const digits = (n: number): string => String(n).padStart(16, '0');
  return `${digits(at)} ${slot} ${digits(intent)}`;
}

/** A storage that an app chooses, such as `fileStorage` of `@syncline/client/node`. */
export interface StoragePlace {
  /** Opens the store of one broker, stream and user. */
  open(name: string): Promise<Store>;
}

/** Where slots are kept. */
export interface Store {
  readonly kind: 'indexeddb' | 'memory' | 'files';
  slots(): Promise<SlotSummary[]>;
  /** Creates a slot for a device that has done nothing yet; the slot is named after it. */
  create(slot: string, owner: string, now: number, scope?: 'browser'): Promise<StoredRows>;
  /** Takes a slot over, if its owner is still `from`; gives what it holds. */
  take(slot: string, from: string, owner: string, now: number): Promise<StoredRows>;
  /** What a slot holds. Rejects with {@link SlotLostError} if it is no longer this owner's. */
  read(slot: string, owner: string): Promise<StoredRows>;
  /** Makes writes durable, all or none. Rejects with {@link SlotLostError} if the slot is no longer this owner's. */
  write(slot: string, owner: string, writes: readonly StoreWrite[]): Promise<void>;
  /** Whether the slot is still this owner's. */
  owns(slot: string, owner: string): Promise<boolean>;
  /** Deletes a slot of this owner and all that it holds. */
  forget(slot: string, owner: string): Promise<void>;
  /** What was set aside out of any slot and not dismissed, oldest first. */
  aside(): Promise<AsideRow[]>;
  /** Forgets, durably, what was set aside, if it is there. */
  dismiss(id: string): Promise<void>;
  /** Deletes everything, for every page that has it open; resolves when it is gone (WEB-7). */
  wipe(): Promise<void>;
  /** Calls back, once, if the store ends although this page neither closed nor wiped it. */
  onEnd(listener: (end: StoreEnd) => void): void;
  close(): void;
}
