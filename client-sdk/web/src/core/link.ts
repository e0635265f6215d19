/** The connection as the core sees it, its timers, and when to try again (client SPEC, "Link", "Status and retry"). */
import type { CoreStatus } from './messages.js';
import type { Pending } from './outbox.js';

/** How long an opening may take (LINK-4). */
const OPENING_MS_MAX = 30_000;
const RETRY_MS_FIRST = 500;
const RETRY_MS_MAX = 30_000;
/** RETRY-4. */
const ATTEMPT_AFTER_FAULT = 5;
/** The most intents on their way at once, whatever the broker allows (OUTBOX-4). */
export const WINDOW_MAX = 64;

type Phase =
  | { readonly name: 'off' }
  | { readonly name: 'waiting'; readonly retryAt: number }
  /** Asked for, not there yet. */
  | { readonly name: 'connecting' }
  | { readonly name: 'connected'; readonly connection: Connection };

/** What is known of one connection. */
export interface Connection {
  /** The most intents on their way at once. */
  readonly window: number;
  /** null: any size. */
  readonly packetBytesMax: number | null;
  /** What the broker has to give before events are taken; `other schema`: SCHEMA-10. */
  awaiting: 'schema' | 'other schema' | 'opening' | null;
  /** Whether an opening was taken on it, so that intents may be sent (LINK-2). */
  open: boolean;
  /** Whether an event was applied since the last gap, if there was one (REPLICA-4). */
  progressed: boolean;
  /** Whether the whole state was asked for because of REPLICA-2. */
  restarted: boolean;
  /** The opening that was taken, until the cursor is at its head (OVERLAY-2). */
  opening: Opening | undefined;
  /** What was acknowledged before it, until its first opening is reached (OVERLAY-2). */
  ackedBefore: readonly Pending[];
}

/** What an opening says that counts once it is reached. */
export interface Opening {
  readonly head: number;
  /** Up to which `device_seq` the broker has this device's intents; 0: of none. */
  readonly known: number;
}

/** Off, waiting, connecting or connected. */
export class Link {
  #phase: Phase = { name: 'off' };
  #attempt = 0;
  #reason: string | undefined;
  #deadline: number | undefined;

  /** The connection that stands, if one does. */
  get connection(): Connection | undefined {
    return this.#phase.name === 'connected' ? this.#phase.connection : undefined;
  }

  /** Whether there is a connection, or one is being made. */
  get active(): boolean {
    return this.#phase.name === 'connecting' || this.#phase.name === 'connected';
  }

  get isConnecting(): boolean {
    return this.#phase.name === 'connecting';
  }

  /** Whether the link is open and no opening is awaited. */
  get isSettled(): boolean {
    return this.open?.awaiting === null;
  }

  /** The open connection, on which intents may be sent (LINK-2). */
  get open(): Connection | undefined {
    return this.connection?.open === true ? this.connection : undefined;
  }

  switchOff(): void {
    this.#phase = { name: 'off' };
    this.#deadline = undefined;
    this.#reason = 'switched off';
  }

  /** A connection is asked for because of the app or a new device: attempt 0. */
  start(now: number): void {
    this.#attempt = 0;
    this.#reason = undefined;
    this.connect(now);
  }

  connect(now: number): void {
    this.#phase = { name: 'connecting' };
    this.#deadline = now + OPENING_MS_MAX;
  }

  connected(
    receiveMaximum: number,
    packetBytesMax: number | null,
    ackedBefore: readonly Pending[],
  ): Connection {
    const connection: Connection = {
      window: Math.min(receiveMaximum, WINDOW_MAX),
      packetBytesMax,
      awaiting: 'opening',
      open: false,
      progressed: true,
      restarted: false,
      opening: undefined,
      ackedBefore,
    };
    this.#phase = { name: 'connected', connection };
    return connection;
  }

  /** A `$since` or the schema was subscribed again, so another opening is due (LINK-4). */
  await(connection: Connection, awaiting: 'opening' | 'other schema', now: number): void {
    connection.awaiting = awaiting;
    this.#deadline = now + OPENING_MS_MAX;
  }

  /** A part of an opening has come, so the rest has its time again (LINK-4). */
  partCame(now: number): void {
    this.#deadline = now + OPENING_MS_MAX;
  }

  /** An opening was taken. */
  opened(connection: Connection, opening: Opening): void {
    connection.opening = opening;
    connection.awaiting = null;
    connection.open = true;
    this.#reason = undefined;
    this.#deadline = undefined;
  }

  /** The next try is the first again (RETRY-2). */
  startAfresh(): void {
    this.#attempt = 0;
  }

  /** The connection is gone: exponential backoff with full jitter (RETRY-1, RETRY-4). */
  retry(now: number, random: number, reason: string, afterFault: boolean): void {
    if (afterFault) this.#attempt = Math.max(this.#attempt, ATTEMPT_AFTER_FAULT);
    const most = Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** this.#attempt);
    this.#attempt += 1;
    this.#deadline = undefined;
    this.#reason = reason;
    this.#phase = { name: 'waiting', retryAt: now + Math.floor(random * most) };
  }

  /** The next moment at which this link wants a `timeout`. */
  get timeout(): number | undefined {
    return this.#phase.name === 'waiting' ? this.#phase.retryAt : this.#deadline;
  }

  retryIsDue(now: number): boolean {
    return this.#phase.name === 'waiting' && now >= this.#phase.retryAt;
  }

  openingIsLate(now: number): boolean {
    return this.active && this.#deadline !== undefined && now >= this.#deadline;
  }

  /** STATUS-1. */
  status(pending: number): CoreStatus {
    const phase = this.#statusPhase();
    const label = phase !== 'online' ? 'offline' : pending === 0 ? 'saved' : 'saving';
    return {
      type: 'status',
      phase,
      pending,
      label,
      ...(this.#phase.name === 'waiting' ? { nextRetryAt: this.#phase.retryAt } : {}),
      ...(this.#reason === undefined || phase === 'online' ? {} : { reason: this.#reason }),
    };
  }

  #statusPhase(): CoreStatus['phase'] {
    if (!this.active) return 'offline';
    return this.open === undefined ? 'connecting' : 'online';
  }
}
