/**
 * The client as a state machine without input, output, clock or chance of its own. Rules: `client-sdk/SPEC.md`.
 *
 * Contract: `open` comes first and once. `persisted` follows `write`, `connected` or `disconnected` follow `connect`,
 * `new_device` follows `mint_device`. After `disconnect` nothing is reported of that connection. After each input the
 * driver arranges a `timeout` at `nextTimeout()`.
 */
import type { OpenAct } from '../protocol/entry.js';
import type { Entries, Item } from '../protocol/list.js';
import type { Schema } from '../protocol/schema.js';
import type { Value } from '../protocol/value.js';
import { mintWhenQuiet, onAcked, onNewDevice, onTakenOver } from './answers.js';
import { Device } from './device.js';
import type {
  CoreOptions,
  CoreStatus,
  Input,
  IntentRow,
  Output,
  PendingIntent,
  StoredRows,
} from './messages.js';
import { connect, connectionEnded, drop, fault, Parts, seeClocks } from './parts.js';
import { onPersisted, publish, sendWhatMayGo } from './publishing.js';
import { onConnected, onMessage } from './resuming.js';
import { Turn } from './turn.js';

/** OUTBOX-3. */
const OUTBOX_LIMIT = 10_000;

/** One stream, one device, one connection. */
export class Core {
  readonly #options: CoreOptions;
  readonly #parts: Parts;
  #writes = 0;
  #inputs = 0;
  #deviceIsStored: boolean;
  #status: CoreStatus | undefined;

  constructor(options: CoreOptions) {
    const fresh = { deviceUuid: options.deviceUuid, nextDeviceSeq: 1, offered: 0, timestamp: 0, counter: 0 };
    const device = new Device(options.stored?.device ?? fresh);
    this.#options = options;
    this.#deviceIsStored = options.stored !== null;
    this.#parts = new Parts(options.stream, device, options.outboxLimit ?? OUTBOX_LIMIT);
  }

  get deviceUuid(): string {
    return this.#parts.device.uuid;
  }

  /** The cursor's seq. */
  get seq(): number {
    return this.#parts.replica.seq;
  }

  /** How many inputs it took: between two of them nothing changes. */
  get inputs(): number {
    return this.#inputs;
  }

  /** The history of the replica. */
  get epoch(): string {
    return this.#parts.replica.epoch;
  }

  /** undefined: none is known yet. */
  get schema(): Schema | undefined {
    return this.#parts.replica.schema;
  }

  /** The intents that the broker has not acknowledged, in order. */
  pending(): PendingIntent[] {
    return this.#parts.outbox.unacked().map(({ id, intent, standing }) => ({
      id,
      intent,
      stage: standing === 'queued' ? 'waiting' : (standing as 'sent' | 'overtaken'),
    }));
  }

  /** Where things stood after the last input. */
  get status(): CoreStatus {
    return this.#status ?? this.#parts.link.status(0);
  }

  /** The live values of a collection, own changes included. */
  values(collection: string): ReadonlyMap<string, Value> {
    return this.#parts.view.values(collection);
  }

  /** The entries of a collection, own changes included, removed ones too. */
  entries(collection: string): Entries {
    return this.#parts.view.entries(collection);
  }

  /** The items of one list in their order, own changes included; null: of a collection that has only one. */
  list(collection: string, list: string | null): Item[] {
    return this.#parts.view.list(collection, list);
  }

  /** The open acts of an entry that is in open conflict, the shown one first; else none (OVERLAY-5). */
  openValues(collection: string, key: string): readonly OpenAct[] {
    return this.#parts.view.openValues(collection, key);
  }

  /** Whether an own change of an entry waits for the broker. */
  isPending(collection: string, key: string): boolean {
    return this.#parts.view.isPending(collection, key);
  }

  /** When a `timeout` is wanted; null: not at all. */
  nextTimeout(): number | null {
    const { link, saves } = this.#parts;
    const dates = [link.timeout, saves.timeout].filter((date) => date !== undefined);
    return dates.length === 0 ? null : Math.min(...dates);
  }

  /** Takes one input. `now` never goes back; `random` is in [0, 1). */
  handle(now: number, random: number, input: Input): Output[] {
    this.#inputs += 1;
    const turn = new Turn(now, random, this.#writes + 1);
    this.#dispatch(turn, input);
    mintWhenQuiet(this.#parts, turn);
    this.#endHolding();
    sendWhatMayGo(this.#parts, turn);
    return this.#finish(turn);
  }

  #dispatch(turn: Turn, input: Input): void {
    switch (input.type) {
      case 'open':
        return this.#open(turn);
      case 'publish':
        return publish(this.#parts, turn, input.eventType, input.eventData);
      case 'persisted':
        onPersisted(this.#parts, turn, input.write);
        return this.#saveReplica(turn);
      case 'connected':
        return onConnected(this.#parts, turn, input.receiveMaximum, input.maximumPacketSize);
      case 'message':
        return onMessage(this.#parts, turn, input.topic, input.payload);
      case 'acked':
        return onAcked(this.#parts, turn, input.id, input.answer);
      case 'disconnected':
        return this.#onDisconnected(turn, input.reason, input.takenOver);
      case 'timeout':
        return this.#onTimeout(turn);
      case 'set_online':
        return this.#setOnline(turn, input.online);
      case 'new_device':
        return onNewDevice(this.#parts, turn, input.deviceUuid);
    }
  }

  #open(turn: Turn): void {
    if (this.#options.stored !== null) this.#restore(turn, this.#options.stored);
    if (this.#options.online) connect(this.#parts, turn);
    else this.#parts.link.switchOff();
  }

  /** OPEN-2. */
  #restore(turn: Turn, stored: StoredRows): void {
    const { replica, outbox, device, view, saves } = this.#parts;
    saves.schemaIsStored = stored.schema !== undefined;
    if (!replica.restore(stored.schema, stored.replica))
      fault(turn, 'storage', 'the stored replica is not usable');
    for (const row of inOrder(stored.intents ?? [], device.uuid)) {
      const pending = outbox.restore(row);
      // A fork changes all others, so this was acknowledged before one.
      if (row.deviceUuid !== device.uuid) outbox.stand(pending, 'acked');
    }
    for (const name of replica.schema?.collections ?? [])
      seeClocks(device, replica.state?.entries(name) ?? []);
    view.reset(outbox.all());
    // There was no view before, so nothing of it has changed.
    view.settle();
  }

  /** OUTBOX-7, FORK-5, RETRY-1. */
  #onDisconnected(turn: Turn, reason: string, takenOver: boolean): void {
    const { link } = this.#parts;
    if (!link.active) return;
    connectionEnded(this.#parts);
    if (takenOver) onTakenOver(this.#parts);
    link.retry(turn.now, turn.random, reason, false);
  }

  #onTimeout(turn: Turn): void {
    const { link } = this.#parts;
    if (link.retryIsDue(turn.now)) connect(this.#parts, turn);
    else if (link.openingIsLate(turn.now)) drop(this.#parts, turn, 'no opening state', false);
    this.#saveReplica(turn);
  }

  /** LINK-3; who switches off may be about to end, so what waits to be saved is saved (STORE-3). */
  #setOnline(turn: Turn, online: boolean): void {
    const { link, saves } = this.#parts;
    if (online) return this.#switchOn(turn);
    if (link.active) {
      turn.emit({ type: 'disconnect' });
      connectionEnded(this.#parts);
    }
    link.switchOff();
    saves.hurry(turn.now);
    this.#saveReplica(turn);
  }

  #switchOn(turn: Turn): void {
    const { link } = this.#parts;
    if (link.active) return;
    link.start(turn.now);
    connect(this.#parts, turn);
  }

  /** STORE-3. */
  #saveReplica(turn: Turn): void {
    const { saves, replica, outbox } = this.#parts;
    if (!saves.isDue(turn.now)) return;
    turn.putReplica(replica.row());
    if (saves.schemaIsNew) turn.putSchema(replica.schema?.map);
    turn.deleteIntents(outbox.takeDeletable());
    saves.started(turn.write);
  }

  /** OUTBOX-8. */
  #endHolding(): void {
    const { link, outbox, fork } = this.#parts;
    if (link.isSettled && outbox.sentCount === 0 && fork === 'none') this.#parts.holding = false;
  }

  #finish(turn: Turn): Output[] {
    const { link, outbox, device, view, saves } = this.#parts;
    if (outbox.hasDeletable) saves.changed(turn.now);
    // STORE-1: the first write to a new store has the device row.
    if (turn.hasWrite && !this.#deviceIsStored) turn.putDevice();
    const write = turn.takeWrite(() => device.row());
    if (write !== undefined) {
      this.#writes = write.write;
      this.#deviceIsStored = true;
      turn.emit(write);
    }
    for (const change of view.settle()) turn.emit(change);
    const status = link.status(outbox.unackedCount);
    if (!sameStatus(status, this.#status)) turn.emit(status);
    this.#status = status;
    return turn.finish();
  }
}

/** By `device_seq`, those of an earlier device first. */
function inOrder(rows: readonly IntentRow[], deviceUuid: string): IntentRow[] {
  const rank = (row: IntentRow): number => (row.deviceUuid === deviceUuid ? row.deviceSeq : 0);
  return [...rows].sort((a, b) => rank(a) - rank(b));
}

function sameStatus(a: CoreStatus, b: CoreStatus | undefined): boolean {
  return (
    b !== undefined &&
    a.phase === b.phase &&
    a.pending === b.pending &&
    a.nextRetryAt === b.nextRetryAt &&
    a.reason === b.reason
  );
}
