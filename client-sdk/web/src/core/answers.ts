/** What the broker answers, and forks (client SPEC, "Outbox", "Refusals", "Forks"). */
import { sinceFilter } from '../protocol/ids.js';
import { decodeRefusal, type Refusal } from '../protocol/refusal.js';
import type { Answer } from './messages.js';
import type { Pending } from './outbox.js';
import { connect, connectionEnded, hide, type Parts } from './parts.js';
import type { Turn } from './turn.js';

/** OUTBOX-6, REFUSE-1. An answer for what is not on its way is an echo. */
export function onAcked(parts: Parts, turn: Turn, id: number, answer: Answer): void {
  const pending = parts.outbox.get(id);
  if (pending?.standing !== 'sent') return;
  if ('refused' in answer) return onRefused(parts, turn, pending, answer.refused);
  const seq = 'saved' in answer ? answer.saved : answer.repeat;
  acknowledge(parts, turn, pending, seq);
  // OVERLAY-2: what a state brought has no event of its own to wait for.
  if (parts.link.isSettled && seq <= parts.replica.seq) hide(parts, pending);
}

/** A message on the own `errors` topic (REFUSE-1). */
export function onErrorMessage(parts: Parts, turn: Turn, payload: Uint8Array): void {
  const { syncId, channel, deviceSeq, name, reason } = decodeRefusal(payload);
  if (syncId !== parts.stream.syncId || channel !== parts.stream.channel) return;
  const pending = parts.outbox.find(parts.device.uuid, deviceSeq);
  if (pending?.standing === 'sent') onRefused(parts, turn, pending, { name, reason });
}

/** The intent is on the broker's disk; its place may not be known. */
export function acknowledge(parts: Parts, turn: Turn, pending: Pending, seq: number | undefined): void {
  pending.ackedUnder = parts.replica.epoch;
  parts.outbox.stand(pending, 'acked');
  pending.seq = seq;
  parts.outbox.forgetIfDone(pending);
  turn.emit({ type: 'receipt', id: pending.id, outcome: 'saved', ...(seq === undefined ? {} : { seq }) });
}

/** REFUSE-2: it will never be saved. */
export function setAside(parts: Parts, turn: Turn, pending: Pending, refusal: Refusal): void {
  if (pending.shown) parts.view.hide(pending);
  parts.outbox.remove(pending);
  turn.deleteIntents([pending.id]);
  turn.emit({ type: 'receipt', id: pending.id, outcome: 'refused', ...refusal });
  turn.emit({ type: 'set_aside', id: pending.id, intent: pending.intent, ...refusal });
}

function onRefused(parts: Parts, turn: Turn, pending: Pending, refusal: Refusal): void {
  if (refusal.name === 'wrong_epoch') onWrongEpoch(parts, turn, pending);
  else if (refusal.name === 'device_forked') onForked(parts, pending);
  else if (refusal.name === 'overtaken') onOvertaken(parts, turn, pending);
  else setAside(parts, turn, pending, refusal);
}

/** REFUSE-3. One that was sent before its epoch was put right needs nothing but to be sent again. */
function onWrongEpoch(parts: Parts, turn: Turn, pending: Pending): void {
  parts.outbox.stand(pending, 'queued');
  parts.holding = true;
  pending.doubted = pending.sentEpoch === pending.intent.epoch;
  if (pending.doubted) resubscribe(parts, turn);
}

/** REFUSE-5: what happened on its entry shows at the next opening. */
function onOvertaken(parts: Parts, turn: Turn, pending: Pending): void {
  parts.outbox.stand(pending, 'overtaken');
  turn.putIntent(pending);
  resubscribe(parts, turn);
}

/** Subscribes the `$since` of the cursor again, unless something is awaited already. */
export function resubscribe(parts: Parts, turn: Turn): void {
  const { connection } = parts.link;
  if (connection?.awaiting !== null) return;
  parts.link.await(connection, 'opening', turn.now);
  turn.emit({ type: 'subscribe', filter: sinceFilter(parts.stream, parts.replica.seq, parts.replica.epoch) });
}

/** FORK-1. */
function onForked(parts: Parts, pending: Pending): void {
  parts.outbox.stand(pending, 'queued');
  forkKnown(parts);
}

/** Another installation uses this UUID. */
export function forkKnown(parts: Parts): void {
  parts.holding = true;
  if (parts.fork === 'none') parts.fork = 'known';
}

/** FORK-5: without an intent that the broker may have there is nothing to wait for. */
export function onTakenOver(parts: Parts): void {
  const { outbox, device } = parts;
  parts.takenOver = [...outbox.queued()].some(({ intent }) => intent.deviceSeq <= device.offered);
  if (!parts.takenOver) forkKnown(parts);
}

/** FORK-2: asks for a new device once it is known of every intent whether the broker has it. */
export function mintWhenQuiet(parts: Parts, turn: Turn): void {
  if (parts.fork !== 'known' || !parts.outbox.isClear) return;
  parts.fork = 'minting';
  turn.emit({ type: 'mint_device' });
}

/** FORK-3. */
export function onNewDevice(parts: Parts, turn: Turn, deviceUuid: string): void {
  if (parts.fork !== 'minting') return;
  parts.fork = 'none';
  parts.takenOver = false;
  parts.device.rename(deviceUuid);
  for (const pending of parts.outbox.unacked()) renumber(parts, turn, pending);
  turn.putDevice();
  if (!parts.link.active) return;
  turn.emit({ type: 'disconnect' });
  connectionEnded(parts);
  parts.link.start(turn.now);
  connect(parts, turn);
}

function renumber(parts: Parts, turn: Turn, pending: Pending): void {
  const { device, view } = parts;
  if (pending.shown) view.hide(pending);
  pending.intent = { ...pending.intent, deviceUuid: device.uuid, deviceSeq: device.takeSeq() };
  pending.seq = undefined;
  pending.shown = true;
  view.show(pending);
  turn.putIntent(pending);
}
