/** The outbox: this device's intents until the broker has them, and a little longer while they are shown. */
import { encodeIntent, type Intent } from '../protocol/event.js';
import type { IntentRow, Saw } from './messages.js';

/** Where an intent stands with the broker. */
export type Standing =
  /** Waits to be sent (again). */
  | 'queued'
  /** Sent on this connection and not answered. */
  | 'sent'
  /** Refused as `overtaken`; the next opening decides (REFUSE-5). */
  | 'overtaken'
  /** On the broker's disk. */
  | 'acked';

/** One intent of the outbox. */
export interface Pending {
  readonly id: number;
  intent: Intent;
  /** STORE-5; undefined: not known. */
  readonly saw: Saw | undefined;
  /** Its place among all: later ones are higher. */
  order: number;
  standing: Standing;
  /** Whether the overlay holds it (OVERLAY-2). */
  shown: boolean;
  /** The write that must be durable before it is sent (OUTBOX-4, OUTBOX-5). */
  needs: number;
  /** Its seq, once answered or seen as an event. */
  seq: number | undefined;
  /** The epoch that it was last sent with; differs from the intent's once REPLICA-7 changed that. */
  sentEpoch: string | null;
  /** Refused as `wrong_epoch` with the epoch that it has; the next opening decides (REFUSE-3). */
  doubted: boolean;
  /** The epoch of the replica when it was acknowledged (OVERLAY-2). */
  ackedUnder: string | null;
}

/** The row that is stored for an intent. */
export function rowOf(pending: Pending): IntentRow {
  const { id, intent, saw, standing } = pending;
  return {
    id,
    ...intent,
    ...(saw === undefined ? {} : { saw }),
    ...(standing === 'overtaken' ? { overtaken: true } : {}),
  };
}

/** The payload that is sent for an intent. */
export function payloadOf(pending: Pending): Uint8Array {
  return encodeIntent(pending.intent);
}

/** Intents in `device_seq` order, those of an earlier device first. */
export class Outbox {
  readonly #all = new Map<number, Pending>();
  readonly #deletable: number[] = [];
  /** Queued ones that the broker may have (OUTBOX-9). */
  readonly #doubtful = new Set<Pending>();
  /** Ids of intents whose publishers wait, and the write that makes each durable. */
  readonly #unstored = new Map<number, number>();
  #nextId = 1;
  #nextOrder = 1;
  #unacked = 0;
  #sent = 0;

  /** Puts a new intent at the end. */
  add(intent: Intent, saw: Saw | undefined, storedBy: number): Pending {
    this.#unstored.set(this.#nextId, storedBy);
    return this.#insert(this.#nextId, intent, saw);
  }

  /** Puts a stored intent back, behind those that are here. */
  restore({ id, saw, overtaken, ...intent }: IntentRow): Pending {
    const pending = this.#insert(id, intent, saw);
    if (overtaken === true) this.stand(pending, 'overtaken');
    return pending;
  }

  #insert(id: number, intent: Intent, saw: Saw | undefined): Pending {
    const pending: Pending = {
      id,
      intent,
      saw,
      order: this.#nextOrder++,
      standing: 'queued',
      shown: true,
      needs: 0,
      seq: undefined,
      sentEpoch: null,
      doubted: false,
      ackedUnder: null,
    };
    this.#all.set(id, pending);
    this.#nextId = Math.max(this.#nextId, id + 1);
    this.#unacked += 1;
    return pending;
  }

  /** Moves an intent behind all others: its `device_seq` is the last one now. */
  moveToEnd(pending: Pending): void {
    this.#all.delete(pending.id);
    this.#all.set(pending.id, pending);
    pending.order = this.#nextOrder++;
  }

  /** Ids of the intents that a write has made durable, in the order in which they were made. */
  takeStored(write: number): number[] {
    const stored = [...this.#unstored].filter(([, storedBy]) => storedBy <= write).map(([id]) => id);
    for (const id of stored) this.#unstored.delete(id);
    return stored;
  }

  get(id: number): Pending | undefined {
    return this.#all.get(id);
  }

  all(): Iterable<Pending> {
    return this.#all.values();
  }

  /** Intents that the broker has not acknowledged, in order. */
  unacked(): Pending[] {
    return [...this.#all.values()].filter(({ standing }) => standing !== 'acked');
  }

  /** Intents that are shown though the broker has them. */
  acked(): Pending[] {
    return [...this.#all.values()].filter(({ standing }) => standing === 'acked');
  }

  /** Intents that wait to be sent, in order. */
  *queued(): Generator<Pending> {
    for (const pending of this.#all.values()) if (pending.standing === 'queued') yield pending;
  }

  /** The intent that an event or a refusal is about. */
  find(deviceUuid: string, deviceSeq: number | null): Pending | undefined {
    if (deviceSeq === null) return undefined;
    for (const pending of this.#all.values()) {
      const { intent } = pending;
      if (intent.deviceSeq === deviceSeq && intent.deviceUuid === deviceUuid) return pending;
    }
    return undefined;
  }

  /** Queued ones that the broker may have, in order. */
  doubtful(): Iterable<Pending> {
    return this.#doubtful;
  }

  setDoubtful(queued: readonly Pending[]): void {
    this.#doubtful.clear();
    for (const pending of queued) this.#doubtful.add(pending);
  }

  /** Whether the broker has said of everything that it may have whether it has. */
  get isClear(): boolean {
    return this.#sent === 0 && this.#doubtful.size === 0;
  }

  /** How many intents are not acknowledged. */
  get unackedCount(): number {
    return this.#unacked;
  }

  /** How many are on their way. */
  get sentCount(): number {
    return this.#sent;
  }

  /** Changes the standing of an intent; the counts follow. */
  stand(pending: Pending, standing: Standing): void {
    this.#sent += Number(standing === 'sent') - Number(pending.standing === 'sent');
    this.#unacked += Number(pending.standing === 'acked') - Number(standing === 'acked');
    pending.standing = standing;
    if (standing !== 'queued') this.#doubtful.delete(pending);
  }

  /** Takes an intent out. */
  remove(pending: Pending): void {
    this.stand(pending, 'acked');
    this.#all.delete(pending.id);
  }

  /** Forgets an intent that is acknowledged and not shown any more; its row waits for the next save (STORE-3). */
  forgetIfDone(pending: Pending): void {
    if (pending.standing !== 'acked' || pending.shown || !this.#all.delete(pending.id)) return;
    this.#deletable.push(pending.id);
  }

  get hasDeletable(): boolean {
    return this.#deletable.length > 0;
  }

  /** Ids of rows that nothing needs any more. */
  takeDeletable(): number[] {
    return this.#deletable.splice(0);
  }

  /** OUTBOX-7: the connection has ended. */
  requeueSent(): void {
    this.#doubtful.clear();
    for (const pending of this.#all.values()) if (pending.standing === 'sent') this.stand(pending, 'queued');
  }
}
