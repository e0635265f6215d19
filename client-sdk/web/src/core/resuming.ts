/** What the broker gives: openings, events, the schema (client SPEC, "Link", "Replica", "Schema"). */
import { decodeEvent, type SyncEvent } from '../protocol/event.js';
import {
  EPOCH_NONE,
  errorsTopic,
  eventsTopic,
  SCHEMA_TOPIC,
  sinceFilter,
  stateTopic,
  type StreamId,
} from '../protocol/ids.js';
import { MalformedError } from '../protocol/fields.js';
import { Schema } from '../protocol/schema.js';
import { decodeSnapshot, type Snapshot } from '../protocol/snapshot.js';
import { acknowledge, forkKnown, onErrorMessage, resubscribe, setAside } from './answers.js';
import { WINDOW_MAX, type Connection } from './link.js';
import type { Pending } from './outbox.js';
import { breakOff, fault, hide, type Parts } from './parts.js';
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
  if (parts.replica.schema === undefined) {
    connection.awaiting = 'schema';
    turn.emit({ type: 'subscribe', filter: SCHEMA_TOPIC });
  } else subscribeSince(parts, turn, parts.replica.seq, parts.replica.epoch);
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
      return onEvent(parts, turn, connection, ofStream(parts.stream, decodeEvent(payload)));
    case stateTopic(parts.stream):
      return onState(parts, turn, connection, ofStream(parts.stream, decodeSnapshot(payload)));
    case errorsTopic(parts.stream.syncId, parts.device.uuid):
      return onErrorMessage(parts, turn, payload);
    case SCHEMA_TOPIC:
      return onSchema(parts, turn, connection, Schema.fromDocument(new TextDecoder().decode(payload)));
  }
}

function subscribeSince(parts: Parts, turn: Turn, seq: number, epoch: string): void {
  turn.emit({ type: 'subscribe', filter: sinceFilter(parts.stream, seq, epoch) });
}

/** A message that names another stream than its topic does is of no use. */
function ofStream<T extends StreamId>(stream: StreamId, message: T): T {
  if (message.syncId === stream.syncId && message.channel === stream.channel) return message;
  throw new MalformedError('the message names another stream');
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
  const own = pending !== undefined || parts.device.hasIssued(event.deviceUuid, event.deviceSeq);
  if (pending !== undefined) {
    pending.seq = event.seq;
    hide(parts, pending);
  }
  turn.emit({ type: 'event', event, own });
}

function onGap(parts: Parts, turn: Turn, connection: Connection, event: SyncEvent): void {
  if (connection.progressed) {
    connection.progressed = false;
    return resubscribe(parts, turn);
  }
  const { seq, epoch } = parts.replica;
  breakOff(parts, turn, 'gap', `event ${event.seq} of ${event.epoch} after ${seq} of ${epoch}`);
}

// State

/** REPLICA-1, REPLICA-2. Only an opening that is awaited counts (LINK-2). */
function onState(parts: Parts, turn: Turn, connection: Connection, snapshot: Snapshot): void {
  if (snapshot.parts > 1) throw new MalformedError('a state in parts');
  if (snapshot.mark === undefined || connection.awaiting !== 'opening') return;
  if (snapshot.schema !== parts.replica.schema?.hash) return askForOtherSchema(parts, turn, connection);
  const { epoch, seq, isThere } = parts.replica;
  const taken = parts.replica.take(snapshot);
  if (taken === 'delta' || taken === 'digest') return startOver(parts, turn, connection, taken);
  if (taken === 'taken') parts.view.reset(parts.outbox.all());
  const moved = !isThere || epoch !== parts.replica.epoch || seq !== parts.replica.seq;
  if (moved) parts.saves.changed(turn.now);
  parts.seeClocks();
  parts.link.opened(connection);
  onOpened(parts, turn, snapshot.mark, epoch);
}

/** REPLICA-2: asks for the whole state, once. */
function startOver(parts: Parts, turn: Turn, connection: Connection, kind: 'delta' | 'digest'): void {
  const detail =
    kind === 'delta' ? 'a delta that does not follow the cursor' : 'a state without the digest that it names';
  if (connection.restarted) return breakOff(parts, turn, kind, detail);
  fault(turn, kind, detail);
  connection.restarted = true;
  parts.link.await(connection, 'opening', turn.now);
  subscribeSince(parts, turn, 0, EPOCH_NONE);
}

function onOpened(parts: Parts, turn: Turn, mark: number | null, epochBefore: string): void {
  const { epoch } = parts.replica;
  if (epochBefore !== EPOCH_NONE && epochBefore !== epoch) parts.holding = true;
  const forked = mark !== null && mark > parts.device.offered;
  if (forked) forkKnown(parts);
  onMark(parts, turn, Math.min(mark ?? 0, parts.device.offered), forked);
  letGoOfAcked(parts, epoch);
  setAsideDoubted(parts, turn, epoch);
  rebase(parts, turn, epoch);
  if (parts.fork === 'none') offerAll(parts, turn);
}

/**
 * OUTBOX-9 and OVERLAY-2. Up to `known` the broker may have this device's intents, but it may have refused some. So
 * the last window of them is sent again; before that all were answered, and only their deletion was lost.
 */
function onMark(parts: Parts, turn: Turn, known: number, forked: boolean): void {
  const isCovered = ({ intent }: Pending): boolean =>
    intent.deviceUuid === parts.device.uuid && intent.deviceSeq <= known;
  const covered = [...parts.outbox.all()].filter(isCovered);
  if (!forked) for (const pending of covered) hide(parts, pending);
  const queued = covered.filter(({ standing }) => standing === 'queued');
  const doubtful = queued.splice(Math.max(0, queued.length - WINDOW_MAX));
  parts.outbox.setDoubtful(doubtful);
  for (const pending of queued) acknowledge(parts, turn, pending, pending.seq);
}

/** OVERLAY-2: what was acknowledged in another history, or as another device, has no event to wait for. */
function letGoOfAcked(parts: Parts, epoch: string): void {
  for (const pending of parts.outbox.all()) {
    const other = pending.intent.deviceUuid !== parts.device.uuid || pending.ackedUnder !== epoch;
    if (pending.standing === 'acked' && other) hide(parts, pending);
  }
}

/** REFUSE-3: an epoch that was called wrong and is the broker's own cannot be put right. */
function setAsideDoubted(parts: Parts, turn: Turn, epoch: string): void {
  for (const pending of parts.outbox.unacked()) {
    const contradicted = pending.doubted && pending.intent.epoch === epoch;
    pending.doubted = false;
    if (!contradicted) continue;
    setAside(parts, turn, pending, { name: 'wrong_epoch', reason: 'the broker refused its own epoch' });
  }
}

/** REPLICA-7: its author acted on another history. */
function rebase(parts: Parts, turn: Turn, epoch: string): void {
  for (const pending of parts.outbox.unacked()) {
    if (pending.intent.epoch === null || pending.intent.epoch === epoch) continue;
    pending.intent = { ...pending.intent, baseSeq: 0, epoch: epoch === EPOCH_NONE ? null : epoch };
    if (pending.sendableBy !== null) pending.sendableBy = turn.write;
    turn.putIntent(pending);
    parts.view.refresh(pending);
  }
}

// Schema

/** SCHEMA-10. */
function askForOtherSchema(parts: Parts, turn: Turn, connection: Connection): void {
  parts.link.await(connection, 'other schema', turn.now);
  turn.emit({ type: 'subscribe', filter: SCHEMA_TOPIC });
}

/** SCHEMA-11. */
function onSchema(parts: Parts, turn: Turn, connection: Connection, schema: Schema): void {
  if (schema.hash !== parts.replica.schema?.hash) return adoptSchema(parts, turn, connection, schema);
  if (connection.awaiting !== 'other schema') return;
  breakOff(parts, turn, 'schema', 'the state is of another schema than the broker gives');
}

function adoptSchema(parts: Parts, turn: Turn, connection: Connection, schema: Schema): void {
  parts.replica.adopt(schema);
  parts.view.reset(parts.outbox.all());
  parts.saves.schemaIsNew = true;
  parts.saves.changed(turn.now);
  turn.emit({ type: 'schema_changed', hash: schema.hash });
  parts.link.await(connection, 'opening', turn.now);
  subscribeSince(parts, turn, 0, EPOCH_NONE);
}
