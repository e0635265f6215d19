/** The parts of a core, which the chapters of its rules share. */
import type { StateEntry } from '../protocol/entry.js';
import type { StreamId } from '../protocol/ids.js';
import { Assembler } from '../protocol/snapshot.js';
import type { Device } from './device.js';
import { Link } from './link.js';
import type { FaultKind } from './messages.js';
import { Outbox, type Pending } from './outbox.js';
import { Replica } from './replica.js';
import { Saves } from './saves.js';
import type { Turn } from './turn.js';
import { View } from './view.js';

/** A fork of this device (FORK-1 … FORK-3). */
export type Fork = 'none' | 'known' | 'minting';

/** All that a core remembers. */
export class Parts {
  readonly outbox = new Outbox();
  readonly link = new Link();
  readonly saves = new Saves();
  /** A `state` that travels in parts (REPLICA-8). */
  readonly assembler = new Assembler();
  readonly replica: Replica;
  readonly view: View;
  /** All writes up to this one are durable. */
  persisted = 0;
  /** Nothing is sent until what was sent is answered (OUTBOX-8). */
  holding = false;
  fork: Fork = 'none';
  /** Every opening tells a fork until there is a new device (FORK-5). */
  takenOver = false;

  constructor(
    readonly stream: StreamId,
    readonly device: Device,
    readonly outboxLimit: number,
  ) {
    this.replica = new Replica(stream);
    this.view = new View(this.replica);
  }
}

/** Moves the clock to the highest of some entries (OUTBOX-2). */
export function seeClocks(device: Device, entries: Iterable<readonly [string, StateEntry]>): void {
  for (const [, { shown, conflicts }] of entries) {
    device.see(shown);
    for (const act of conflicts) device.see(act);
  }
}

/** Takes an intent out of the overlay (OVERLAY-2). */
export function hide(parts: Parts, pending: Pending): void {
  if (!pending.shown) return;
  parts.view.hide(pending);
  parts.outbox.forgetIfDone(pending);
}

/** Asks for a connection. */
export function connect(parts: Parts, turn: Turn): void {
  parts.link.connect(turn.now);
  turn.emit({ type: 'connect', deviceUuid: parts.device.uuid });
}

/** OUTBOX-7; and whether there is a fork shows again at the next opening (FORK-2, FORK-5). */
export function connectionEnded(parts: Parts): void {
  parts.outbox.requeueSent();
  parts.assembler.clear();
  if (parts.fork === 'known') parts.fork = 'none';
}

/** Ends the connection for a reason of the core's own, and tries again later (RETRY-3, RETRY-4). */
export function drop(parts: Parts, turn: Turn, reason: string, afterFault: boolean): void {
  turn.emit({ type: 'disconnect' });
  connectionEnded(parts);
  parts.link.retry(turn.now, turn.random, reason, afterFault);
}

/** Tells that a rule was broken. */
export function fault(turn: Turn, kind: FaultKind, detail: string): void {
  turn.emit({ type: 'fault', kind, detail });
}

/** A broken rule after which this connection is of no use. */
export function breakOff(parts: Parts, turn: Turn, kind: FaultKind, detail: string): void {
  fault(turn, kind, detail);
  drop(parts, turn, kind, true);
}
