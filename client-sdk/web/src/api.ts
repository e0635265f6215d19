/**
 * What an app sees of Syncline: options, status, entries, events, receipts.
 *
 * All times are Unix milliseconds. Everything handed out is read-only and never changes afterwards.
 */
import type { SyncEvent } from './protocol/event.js';
import type { Presence } from './protocol/presence.js';
import type { Schema } from './protocol/schema.js';
import type { Value } from './protocol/value.js';
import type { StoragePlace, StoreEnd } from './storage/store.js';
import type { AskToken } from './transport/credentials.js';

/** How to open one stream of one sync group. */
export interface SynclineOptions {
  /** The broker's WebSocket address, for example `ws://localhost:8080/mqtt`. */
  readonly url: string;
  /** The sync group: 1 to 64 of `A-Z a-z 0-9 . _ -`. */
  readonly syncId: string;
  /** A named stream of the group; left out: the default one. */
  readonly channel?: string;
  /** A name for people, shown to the other devices (PRESENCE-1). A function is asked at every connection. */
  readonly name?: string | (() => string);
  /** Who the user is, for a broker that asks. What is stored here is kept apart by user. Beside `token` it is not shown. */
  readonly username?: string;
  /**
   * What the user shows: a password, or a token of the user's. A function is asked at every connection; when a token expires, the
   * broker ends the connection and the next one shows what the function gives then.
   */
  readonly password?: string | (() => string);
  /** In place of a password: where fresh tokens come from. Needs `username` beside it. */
  readonly token?: AskToken;
  /**
   * Where outbox and replica live. Default: `indexeddb` where the browser gives it, else `memory`, which
   * {@link Syncline.storage} says, and a `fault`. `indexeddb`: that, or not at all. In Node: `fileStorage(folder)` of
   * `@syncline/client/node`.
   */
  readonly storage?: 'indexeddb' | 'memory' | StoragePlace;
  /**
   * What is one device: `tab` (the default), each tab for itself; `browser`, all tabs of this origin and user together: one of
   * them holds the connection, all share one outbox and one replica. That needs Web Locks and IndexedDB; where a page has
   * none (plain http), it is `tab`, which {@link Syncline.deviceScope} says, and a `fault`.
   */
  readonly deviceScope?: 'tab' | 'browser';
}

/** What a connection pill shows. `pending` counts intents that the broker has not confirmed. */
export type Status =
  /** Online and everything is saved. */
  | { readonly state: 'saved'; readonly pending: 0 }
  /** Online, some intents are on their way. */
  | { readonly state: 'saving'; readonly pending: number }
  /** Connected or connecting, but not caught up yet. */
  | { readonly state: 'connecting'; readonly pending: number }
  /** Not connected. `retryAt`: when the next attempt starts; null: the app switched it off. */
  | {
      readonly state: 'offline';
      readonly pending: number;
      readonly retryAt: number | null;
      readonly reason: string | null;
    }
  /**
   * The broker does not take what this user shows, or there is nothing to show. `retryAt`: when it is asked for again; null:
   * nothing happens until `setOnline(true)`. Changes are kept meanwhile.
   */
  | {
      readonly state: 'needs_auth';
      readonly pending: number;
      readonly retryAt: number | null;
      readonly reason: string;
    }
  /** For ever: what is stored here is gone, or another version's. `pending`: what is still stored for a later client. */
  | {
      readonly state: 'closed';
      readonly pending: number;
      readonly cause: StoreEnd;
      readonly reason: string;
    };

/** A live entry of a collection, own unconfirmed changes included. */
export interface Entry {
  readonly key: string;
  /** `true` for a member of a `set`; an integer for a `counter`. */
  readonly value: Value;
  /** True while an own change of this entry is not confirmed. */
  readonly pending: boolean;
}

/** An entry of a `keep_both` collection that says several things at once: nobody who saw them all has settled it. */
export interface Conflict {
  readonly key: string;
  /** At least two, the one that is shown first. */
  readonly values: readonly OpenValue[];
}

/** One of the values of an open conflict, and whose. */
export interface OpenValue {
  /** undefined: this device removed the entry. */
  readonly value: Value | undefined;
  readonly deviceUuid: string;
  /** What people call that device; undefined: this client has not seen its presence, or it has no name. */
  readonly deviceName: string | undefined;
  /** Unix milliseconds, by that device's clock. */
  readonly timestamp: number;
}

/** What shall be: a value, or nothing (`undefined`). An {@link OpenValue} is one. */
export interface Choice {
  readonly value: Value | undefined;
}

/** A change that the broker has not confirmed. */
export interface PendingEvent {
  /** Its number in this device's store; later ones are higher. */
  readonly id: number;
  readonly eventType: string;
  readonly eventData: Value;
  /** Unix milliseconds, by this device's clock; a little later where the stream's clock was ahead of it. */
  readonly createdAt: number;
  /** In the outbox; on its way; or so old that the broker's history went past it, and the next connection decides. */
  readonly stage: 'waiting' | 'sent' | 'overtaken';
}

/** A device of the group, as the broker tells it (PRESENCE-1). */
export interface DevicePresence extends Presence {
  /** True for this very device. */
  readonly own: boolean;
}

/** A permanent refusal: by the broker, with a name of the protocol's table, or by `publish` itself. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  constructor(
    /** For example `bad_data`, `overtaken`, `not_allowed`; of `publish` also `outbox_full` and `quota_exceeded`, of `settle` `cannot_settle`. */
    readonly refusal: string,
    /** A sentence for people. */
    readonly reason: string,
  ) {
    super(`${refusal}: ${reason}`);
  }
}

/** An intent that will never be saved: refused for ever, kept over reloads until the app dismisses it. */
export interface SetAside {
  /** Its name, for {@link Syncline.dismiss}. */
  readonly id: string;
  readonly eventType: string;
  readonly eventData: Value;
  readonly refusal: string;
  readonly reason: string;
}

/** A change on the broker's disk. */
export interface Saved {
  /** Its place in the stream; null: the broker only said that it has it. */
  readonly seq: number | null;
}

/** What `publish` returns: the intent is in this device's durable outbox. */
export interface Receipt {
  /** Its number in this device's outbox. */
  readonly deviceSeq: number;
  /**
   * Resolves when the event is on the broker's disk; `seq` is null where the broker only said that it has it. A change
   * that a later one of this device made pointless before it was ever sent shares that one's fate. Rejects
   * with a {@link RefusedError}, or with another error if this page ends or another tab delivers it.
   */
  readonly saved: Promise<Saved>;
  /**
   * Resolves when that device has told the broker that it has this, however long that takes. Rejects as `saved` does;
   * when `signal` ends, with its reason; when the client is closed; and where nobody can say: the broker only said that it
   * has it, or has begun another history since.
   */
  seenBy(deviceUuid: string, options?: { readonly signal?: AbortSignal }): Promise<void>;
}

/** What a wipe took away. */
export interface Wiped {
  /**
   * How many changes went with it that the broker had not confirmed. Of other open tabs, some that it confirmed within the
   * last second may be among them.
   */
  readonly pending: number;
}

/** Names of events and what their `detail` holds. */
export interface SynclineEvents {
  /** The status changed. */
  status: Status;
  /** Entries, lists or conflicts of these collections may have changed. */
  change: { readonly collections: readonly string[] };
  /** An event arrived in order; `own`: this device's. Not told for what a snapshot brought. */
  event: { readonly event: SyncEvent; readonly own: boolean };
  /** The devices of the group changed. */
  presence: { readonly devices: readonly DevicePresence[] };
  /** An intent was refused for ever, and is kept. */
  setaside: SetAside;
  /** The broker, the storage or this client broke a rule; the client goes on. For logs. */
  fault: { readonly kind: string; readonly detail: string };
}

/** One device's view of one stream. */
export interface Syncline {
  /** This device, 36 characters. */
  readonly deviceUuid: string;
  readonly syncId: string;
  /** null: the default channel. */
  readonly channel: string | null;
  /** The present status. The same object until it changes. */
  readonly status: Status;
  /** What is one device here: this tab, or all tabs of this origin and user. */
  readonly deviceScope: 'tab' | 'browser';
  /** Where outbox and replica live. `memory`: they end with this page. */
  readonly storage: 'indexeddb' | 'memory' | 'files';
  /** What event types mean, as the broker said last; undefined before the first connection. */
  readonly schema: Schema | undefined;
  /** The last seq that this device has applied. */
  readonly seq: number;

  /**
   * Applies an intent at once and stores it; resolves when it is in the durable outbox (G11).
   * Rejects with a {@link RefusedError} if it could never be saved: `bad_value`, `bad_data`, `not_an_event`, or if too
   * many changes wait already: `outbox_full`, or if the browser has no room for one more: `quota_exceeded`; what is stored
   * goes on being sent then.
   */
  publish(eventType: string, eventData: Value): Promise<Receipt>;

  /** The live entries of a collection, ascending by the UTF-8 bytes of their keys. Same array until one changes. */
  entries(collection: string): readonly Entry[];
  /** Whether a collection has a live entry under `key`. */
  has(collection: string, key: string): boolean;
  /** The live value under `key`; undefined: there is none. */
  value(collection: string, key: string): Value | undefined;
  /**
   * The items of a `list` collection in their order; `list`: which one, where the schema has several in the collection.
   * Same array until one changes. To move an item, publish its add again with another neighbour.
   */
  list(collection: string, list?: string): readonly Entry[];
  /**
   * The open conflicts of a `keep_both` collection, ascending by the UTF-8 bytes of their keys. Same array until one
   * changes. To settle one, say what shall be (`settle`): it replaces all values that this device sees.
   */
  conflicts(collection: string): readonly Conflict[];
  /** The changes that the broker has not confirmed, in the order in which they go out. Same array until that changes. */
  pendingEvents(): readonly PendingEvent[];
  /** Devices of the group that the broker knows, this one included once it is online. Same array until one changes. */
  devices(): readonly DevicePresence[];
  /**
   * Intents that were refused for ever and not dismissed, oldest first; also those of earlier visits and, as they were when this
   * page was opened, of other tabs. The last 1,000 are kept. Same array until that changes.
   */
  setAside(): readonly SetAside[];
  /** Forgets, durably, what was set aside, once its user knows; resolves with whether it was there. Rejects once the client is closed. */
  dismiss(id: string): Promise<boolean>;

  /** Disconnects and stays offline (false), or goes back online at once (true). */
  setOnline(online: boolean): void;
  /** Disconnects, stores what is to be stored, and releases the device. */
  close(): Promise<void>;
  /**
   * For logout: closes, and deletes what this browser keeps of this stream and user, in all tabs; those are closed, too, and
   * say so by their `status`. To lose nothing, wait until nothing is pending first. Resolves when it is gone. Rejects if this
   * client is closed already: open it again for that.
   */
  wipe(): Promise<Wiped>;

  /** Calls `listener` once after any changes of status, entries, devices or set-aside intents (external-store shape). */
  subscribe(listener: () => void): () => void;
  addEventListener<K extends keyof SynclineEvents>(
    type: K,
    listener: (event: CustomEvent<SynclineEvents[K]>) => void,
    options?: AddEventListenerOptions | boolean,
  ): void;
  removeEventListener<K extends keyof SynclineEvents>(
    type: K,
    listener: (event: CustomEvent<SynclineEvents[K]>) => void,
    options?: EventListenerOptions | boolean,
  ): void;
}
