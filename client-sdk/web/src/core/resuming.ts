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
import { onErrorMessage, resubscribe } from './answers.js';
import type { Connection } from './link.js';
import { goOnIfReached, onState } from './opening.js';
import { breakOff, hide, type Parts } from './parts.js';
import type { Turn } from './turn.js';

/** LINK-1. */
export function onConnected(
  parts: Parts,
  turn: Turn,
  receiveMaximum: number,
  packetBytesMax: number | null,
): void {
  if (!parts.link.isConnecting) return;
  const connection = parts.link.connected(receiveMaximum, packetBytesMax, parts.outbox.acked());
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
      return onPart(parts, turn, connection, ofStream(parts.stream, decodeSnapshot(payload)));
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
  if (applied.target !== undefined) parts.view.touch(applied.target);
  const pending = parts.outbox.find(event.deviceUuid, event.deviceSeq);
  const own = pending !== undefined || parts.device.hasIssued(event.deviceUuid, event.deviceSeq);
  if (pending !== undefined) {
    pending.seq = event.seq;
    hide(parts, pending);
  }
  turn.emit({ type: 'event', event, own });
  goOnIfReached(parts, turn, connection);
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

/** REPLICA-8. */
function onPart(parts: Parts, turn: Turn, connection: Connection, part: Snapshot): void {
  const snapshot = parts.assembler.push(part);
  if (snapshot !== undefined) return onState(parts, turn, connection, snapshot);
  if (part.mark !== undefined && connection.awaiting === 'opening') parts.link.partCame(turn.now);
}

// Schema

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
