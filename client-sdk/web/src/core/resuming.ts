/** What the broker gives: openings, events, the schema (client SPEC, "Link", "Replica", "Schema"). */
import { decodeEvent, type SyncEvent } from '../protocol/event.js';
import {
  EPOCH_NONE,
  errorsTopic,
  eventsTopic,
  SCHEMA_TOPIC,
  sinceFilter,
  stateTopic,
} from '../protocol/ids.js';
import { Schema } from '../protocol/schema.js';
import { decodeSnapshot, type Snapshot } from '../protocol/snapshot.js';
import { acknowledge, forkKnown, hideIfCovered, onErrorMessage, resubscribe, setAside } from './answers.js';
import type { Connection } from './link.js';
import type { Pending } from './outbox.js';
import { breakOff, fault, type Parts } from './parts.js';
import { offerAll } from './publishing.js';
import type { Turn } from './turn.js';

/** LINK-1. */
export function onConnected(
  parts: Parts,
  turn: Turn,
  receiveMaximum: number,
  packetBytesMax: number | null,
): void {
  if (!parts.link.isConnecting) return;
  const connection = parts.link.connected(receiveMaximum, packetBytesMax);
  turn.emit({ type: 'subscribe', filter: errorsTopic(parts.stream.syncId, parts.device.uuid) });
  if (parts.replica.schema === undefined) askForSchema(turn, connection);
  else subscribeSince(parts, turn, parts.replica.seq, parts.replica.epoch);
}

/** REPLICA-5: what cannot be read ends the connection; other topics are not ours. */
export function onMessage(parts: Parts, turn: Turn, topic: string, payload: Uint8Array): void {
  const { connection } = parts.link;
  if (connection === undefined) return;
  try {
    route(parts, turn, connection, topic, payload);
  } catch (error) {
    breakOff(parts, turn, 'bad_message', `${topic}: ${String(error)}`);
  }
}

function route(parts: Parts, turn: Turn, connection: Connection, topic: string, payload: Uint8Array): void {
  switch (topic) {
    case eventsTopic(parts.stream):
      return onEvent(parts, turn, connection, decodeEvent(payload));
    case stateTopic(parts.stream):
      return onState(parts, turn, connection, decodeSnapshot(payload));
    case errorsTopic(parts.stream.syncId, parts.device.uuid):
      return onErrorMessage(parts, turn, payload);
    case SCHEMA_TOPIC:
      return onSchema(parts, turn, connection, Schema.fromDocument(new TextDecoder().decode(payload)));
  }
}

function subscribeSince(parts: Parts, turn: Turn, seq: number, epoch: string): void {
  turn.emit({ type: 'subscribe', filter: sinceFilter(parts.stream, seq, epoch) });
}

function askForSchema(turn: Turn, connection: Connection): void {
  connection.awaiting = 'schema';
  turn.emit({ type: 'subscribe', filter: SCHEMA_TOPIC });
}

// Events

/** REPLICA-3, REPLICA-4. */
function onEvent(parts: Parts, turn: Turn, connection: Connection, event: SyncEvent): void {
  if (connection.awaiting !== null) return;
  const applied = parts.replica.apply(event);
  if (applied === 'known') return;
  if (applied === 'gap') return onGap(parts, turn, connection, event);
  connection.progressed = true;
  parts.saves.changed(turn.now);
  parts.device.see(event);
  if (applied.place !== undefined) parts.view.touch(applied.place);
  const pending = parts.outbox.find(event.deviceUuid, event.deviceSeq);
  if (pending !== undefined) seen(parts, pending, event.seq);
  const own = pending !== undefined || parts.device.hasIssued(event.deviceUuid, event.deviceSeq);
  turn.emit({ type: 'event', event, own });
}

/** An intent's own event was applied (OVERLAY-2). */
function seen(parts: Parts, pending: Pending, seq: number): void {
  pending.seq = seq;
  if (pending.shown) parts.view.hide(pending);
}

function onGap(parts: Parts, turn: Turn, connection: Connection, event: SyncEvent): void {
  if (connection.progressed) return resubscribe(parts, turn);
  const { seq, epoch } = parts.replica;
  breakOff(parts, turn, 'gap', `event ${event.seq} of ${event.epoch} after ${seq} of ${epoch}`);
}

// State

/** REPLICA-1, REPLICA-2. A `state` without a mark is no opening; one of another history or schema is not for now. */
function onState(parts: Parts, turn: Turn, connection: Connection, snapshot: Snapshot): void {
  if (snapshot.mark === undefined) return onBridge(parts, turn, connection, snapshot);
  if (connection.awaiting !== 'opening') return;
  if (snapshot.schema !== parts.replica.schema?.hash) return askForSchema(turn, connection);
  const epochBefore = parts.replica.epoch;
  const taken = parts.replica.take(snapshot);
  if (taken === 'delta' || taken === 'digest') return startOver(parts, turn, connection, taken);
  parts.link.opened(connection);
  if (taken === 'taken') tookState(parts, turn, snapshot);
  onOpened(parts, turn, snapshot.mark, epochBefore);
}

/** A `state` that stands for events below the horizon (G3). */
function onBridge(parts: Parts, turn: Turn, connection: Connection, snapshot: Snapshot): void {
  const { epoch, schema } = parts.replica;
  const fits = snapshot.epoch === epoch && snapshot.schema === schema?.hash;
  if (connection.awaiting !== null || !fits) return;
  const taken = parts.replica.take(snapshot);
  if (taken === 'delta' || taken === 'digest') return startOver(parts, turn, connection, taken);
  if (taken === 'taken') tookState(parts, turn, snapshot);
}

/** REPLICA-2: asks for the whole state, once. */
function startOver(parts: Parts, turn: Turn, connection: Connection, kind: 'delta' | 'digest'): void {
  const detail =
    kind === 'delta' ? 'a delta that does not follow the cursor' : 'a state without the digest that it names';
  if (connection.restarted) return breakOff(parts, turn, kind, detail);
  fault(turn, kind, detail);
  connection.restarted = true;
  parts.link.awaitOpening(connection, turn.now);
  subscribeSince(parts, turn, 0, EPOCH_NONE);
}

function tookState(parts: Parts, turn: Turn, snapshot: Snapshot): void {
  parts.saves.changed(turn.now);
  for (const entries of snapshot.collections.values()) {
    for (const entry of entries.values()) parts.device.see(entry);
  }
  for (const pending of parts.outbox.all()) hideIfCovered(parts, pending);
  parts.view.reset(parts.outbox.all());
}

function onOpened(parts: Parts, turn: Turn, mark: number | null, epochBefore: string): void {
  const { epoch } = parts.replica;
  if (epochBefore !== EPOCH_NONE && epochBefore !== epoch) onOtherEpoch(parts);
  if (mark !== null && mark > parts.device.offered) forkKnown(parts);
  else if (mark !== null) onMark(parts, turn, mark);
  settleWrongEpoch(parts, turn);
  rebase(parts, turn, epoch);
  if (parts.fork === 'none') offerAll(parts, turn);
}

/** OUTBOX-8, OVERLAY-2: what the other history acknowledged may not be part of this one. */
function onOtherEpoch(parts: Parts): void {
  parts.holding = true;
  for (const pending of parts.outbox.all()) {
    if (pending.standing === 'acked' && pending.shown) parts.view.hide(pending);
  }
}

/** OUTBOX-9. */
function onMark(parts: Parts, turn: Turn, mark: number): void {
  for (const pending of [...parts.outbox.all()]) {
    const { deviceUuid, deviceSeq } = pending.intent;
    if (deviceUuid !== parts.device.uuid || deviceSeq > mark) continue;
    if (pending.shown) parts.view.hide(pending);
    if (pending.standing !== 'acked') acknowledge(parts, turn, pending, undefined);
  }
}

/** REFUSE-3: an epoch that was called wrong and is the broker's own cannot be put right. */
function settleWrongEpoch(parts: Parts, turn: Turn): void {
  for (const pending of parts.outbox.unacked()) {
    const reason = pending.wrongEpoch;
    pending.wrongEpoch = undefined;
    if (reason === undefined || pending.intent.epoch !== parts.replica.epoch) continue;
    setAside(parts, turn, pending, { name: 'wrong_epoch', reason });
  }
}

/** REPLICA-7: its author acted on another history. */
function rebase(parts: Parts, turn: Turn, epoch: string): void {
  for (const pending of parts.outbox.unacked()) {
    if (pending.intent.epoch === null || pending.intent.epoch === epoch) continue;
    pending.intent = { ...pending.intent, baseSeq: 0, epoch: epoch === EPOCH_NONE ? null : epoch };
    if (pending.sendableBy !== null) pending.sendableBy = turn.write;
    turn.putIntent(pending);
  }
}

// Schema

/** SCHEMA-11. */
function onSchema(parts: Parts, turn: Turn, connection: Connection, schema: Schema): void {
  if (schema.hash !== parts.replica.schema?.hash) return adoptSchema(parts, turn, connection, schema);
  if (connection.awaiting === 'schema')
    breakOff(parts, turn, 'schema', 'the state is of another schema than the broker gives');
}

function adoptSchema(parts: Parts, turn: Turn, connection: Connection, schema: Schema): void {
  const first = !connection.opened && parts.replica.schema === undefined;
  parts.replica.adopt(schema);
  parts.view.reset(parts.outbox.all());
  parts.saves.schemaIsNew = true;
  parts.saves.changed(turn.now);
  turn.emit({ type: 'schema_changed', hash: schema.hash });
  if (first) connection.awaiting = 'opening';
  else parts.link.awaitOpening(connection, turn.now);
  subscribeSince(parts, turn, 0, EPOCH_NONE);
}
