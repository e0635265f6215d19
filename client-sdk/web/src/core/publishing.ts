/** From `publish` to the wire (client SPEC, "Outbox"). */
import type { Intent } from '../protocol/event.js';
import { EPOCH_NONE, eventsTopic } from '../protocol/ids.js';
import type { Operation } from '../protocol/schema.js';
import type { Value } from '../protocol/value.js';
import { setAside } from './answers.js';
import type { Connection } from './link.js';
import { payloadOf, type Pending } from './outbox.js';
import type { Parts } from './parts.js';
import { sawOf } from './saw.js';
import type { Turn } from './turn.js';

/** What a PUBLISH has besides topic and payload, at most (REFUSE-4). */
const PACKET_OVERHEAD_BYTES = 16;

/** OUTBOX-1, OUTBOX-3, OUTBOX-5; the broker would refuse bad data, too. */
export function publish(parts: Parts, turn: Turn, eventType: string, eventData: Value): void {
  const { device, outbox, replica, link } = parts;
  const operation = replica.schema?.operation(eventType, eventData);
  if (operation === 'bad_data') return turn.emit({ type: 'rejected', reason: 'bad_data' });
  const superseded = operation === undefined ? [] : supersededBy(parts, operation);
  if (outbox.unackedCount - superseded.length >= parts.outboxLimit)
    return turn.emit({ type: 'rejected', reason: 'outbox_full' });
  const intent = newIntent(parts, turn, eventType, eventData);
  if (link.open !== undefined && parts.fork === 'none') device.offerAll();
  const saw = operation === undefined ? undefined : sawOf(replica.entry(operation));
  const pending = outbox.add(intent, saw, turn.write);
  for (const old of superseded) supersede(parts, turn, old, pending);
  parts.view.show(pending);
  turn.putDevice();
  turn.putIntent(pending);
  putFirstSchema(parts, turn);
}

function newIntent({ device, replica }: Parts, turn: Turn, eventType: string, eventData: Value): Intent {
  return {
    eventType,
    eventData,
    deviceUuid: device.uuid,
    deviceSeq: device.takeSeq(),
    clock: device.tick(turn.now),
    baseSeq: replica.seq,
    epoch: replica.epoch === EPOCH_NONE ? null : replica.epoch,
  };
}

/** OUTBOX-10: what was certainly not accepted, and says nothing any more once an intent acts on the same entry. */
function supersededBy({ device, view }: Parts, { collection, key }: Operation): Pending[] {
  if (!view.isSuperseding(collection)) return [];
  const isNew = ({ standing, intent }: Pending): boolean =>
    standing === 'overtaken' || (standing === 'queued' && intent.deviceSeq > device.offered);
  const found = view.over(collection, key).filter(isNew);
  return found.sort((a, b) => a.id - b.id);
}

function supersede({ outbox, view }: Parts, turn: Turn, old: Pending, by: Pending): void {
  view.hide(old);
  outbox.remove(old);
  turn.deleteIntents([old.id]);
  turn.emit({ type: 'receipt', id: old.id, outcome: 'superseded', by: by.id });
}

/** STORE-3: without any schema a restarted client could not show what it has published. */
function putFirstSchema({ replica, saves }: Parts, turn: Turn): void {
  if (!saves.schemaIsNew || saves.schemaIsStored) return;
  turn.putSchema(replica.schema?.map);
  saves.schemaStored();
}

/** An opening has made everything that waits ready to be sent, once the device row says so (OUTBOX-5). */
export function offerAll(parts: Parts, turn: Turn): void {
  const waiting = parts.outbox.unacked().filter(({ intent }) => intent.deviceSeq > parts.device.offered);
  if (waiting.length === 0) return;
  for (const pending of waiting) pending.needs = turn.write;
  parts.device.offerAll();
  turn.putDevice();
}

/** Tells the publishers whose intents have become durable. */
export function onPersisted(parts: Parts, turn: Turn, write: number): void {
  for (const id of parts.outbox.takeStored(write)) turn.emit({ type: 'stored', id });
  parts.persisted = Math.max(parts.persisted, write);
  parts.saves.persisted(write);
}

/** Sends what may go now (OUTBOX-4). */
export function sendWhatMayGo(parts: Parts, turn: Turn): void {
  const connection = parts.link.open;
  if (connection === undefined) return;
  for (const pending of whoseTurn(parts)) {
    if (parts.outbox.sentCount >= connection.window || !isReady(parts, pending)) return;
    send(parts, turn, connection, pending);
  }
}

/** OUTBOX-8, and the exception that FORK-2 makes. */
function whoseTurn({ outbox, holding, fork }: Parts): Iterable<Pending> {
  if (!holding) return outbox.queued();
  return fork === 'known' ? outbox.doubtful() : [];
}

function isReady({ device, persisted }: Parts, { intent, needs }: Pending): boolean {
  return intent.deviceSeq <= device.offered && needs <= persisted;
}

function send(parts: Parts, turn: Turn, connection: Connection, pending: Pending): void {
  const topic = eventsTopic(parts.stream);
  const payload = payloadOf(pending);
  const bytes = payload.length + topic.length + PACKET_OVERHEAD_BYTES;
  if (bytes > (connection.packetBytesMax ?? Infinity)) {
    return setAside(parts, turn, pending, { name: 'too_large', reason: 'larger than the broker takes' });
  }
  parts.outbox.stand(pending, 'sent');
  pending.sentEpoch = pending.intent.epoch;
  turn.emit({ type: 'send', id: pending.id, topic, payload });
}
