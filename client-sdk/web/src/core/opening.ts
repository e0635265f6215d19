/** Openings and bridges: what a `state` does to the replica and to the outbox (client SPEC, "Replica", "Overlay"). */
import { EPOCH_NONE, SCHEMA_TOPIC, sinceFilter } from '../protocol/ids.js';
import type { Snapshot } from '../protocol/snapshot.js';
import { acknowledge, forkKnown, setAside } from './answers.js';
import { WINDOW_MAX, type Connection } from './link.js';
import type { Pending } from './outbox.js';
import { breakOff, fault, hide, seeClocks, type Parts } from './parts.js';
import { offerAll } from './publishing.js';
import { isAsSeen } from './saw.js';
import type { Turn } from './turn.js';

/** LINK-2, REPLICA-9: an opening that is awaited, or a bridge while none is. */
export function onState(parts: Parts, turn: Turn, connection: Connection, snapshot: Snapshot): void {
  if (snapshot.mark !== undefined) {
    if (connection.awaiting === 'opening') onOpening(parts, turn, connection, snapshot, snapshot.mark);
  } else if (snapshot.since === 0 && parts.link.isSettled) onBridge(parts, turn, connection, snapshot);
}

function onOpening(
  parts: Parts,
  turn: Turn,
  connection: Connection,
  snapshot: Snapshot,
  mark: number | null,
): void {
  const { epoch } = parts.replica;
  if (!take(parts, turn, connection, snapshot)) return;
  const has = Math.min(mark ?? 0, parts.device.offered);
  const forked = parts.takenOver || (mark !== null && mark > parts.device.offered);
  parts.link.opened(connection, { head: snapshot.head, known: forked ? 0 : has });
  if (!parts.takenOver) parts.link.startAfresh();
  onMark(parts, turn, has);
  if (forked) forkKnown(parts);
  const reached = reach(parts, connection);
  setAsideDoubted(parts, turn);
  if (isOther(parts, epoch)) parts.holding = true;
  rebase(parts, turn);
  if (mark === null && parts.device.offered === 0) renewUnseen(parts, turn);
  if (reached) judgeOvertaken(parts, turn);
  if (parts.fork === 'none') offerAll(parts, turn);
}

/** REPLICA-9. */
function onBridge(parts: Parts, turn: Turn, connection: Connection, snapshot: Snapshot): void {
  const { epoch, seq } = parts.replica;
  if (snapshot.epoch === epoch && snapshot.seq <= seq) return;
  if (!take(parts, turn, connection, snapshot)) return;
  connection.progressed = true;
  if (isOther(parts, epoch)) {
    parts.holding = true;
    letGoOfAcked(parts);
    rebase(parts, turn);
  }
  for (const pending of parts.outbox.all()) if (isThere(parts, pending)) hide(parts, pending);
  goOnIfReached(parts, turn, connection);
}

/** REPLICA-1, REPLICA-2, SCHEMA-10: false if there is something else to wait for. */
function take(parts: Parts, turn: Turn, connection: Connection, snapshot: Snapshot): boolean {
  const { replica } = parts;
  if (snapshot.schema !== replica.schema?.hash) {
    askForOtherSchema(parts, turn, connection);
    return false;
  }
  const { epoch, seq, isThere } = replica;
  const taken = replica.take(snapshot);
  if (taken === 'delta' || taken === 'digest') {
    startOver(parts, turn, connection, taken);
    return false;
  }
  if (taken === 'taken') parts.view.reset(parts.outbox.all());
  if (!isThere || epoch !== replica.epoch || seq !== replica.seq) parts.saves.changed(turn.now);
  for (const entries of snapshot.collections.values()) seeClocks(parts.device, entries);
  return true;
}

/** Whether the replica was of another epoch before. An empty one had none. */
function isOther({ replica }: Parts, before: string): boolean {
  return before !== EPOCH_NONE && before !== replica.epoch;
}

/** Whether the replica has the event of an acknowledged intent. */
function isThere({ replica }: Parts, { standing, seq }: Pending): boolean {
  return standing === 'acked' && seq !== undefined && seq <= replica.seq;
}

/** REPLICA-2: asks for the whole state, once. */
function startOver(parts: Parts, turn: Turn, connection: Connection, kind: 'delta' | 'digest'): void {
  const detail =
    kind === 'delta' ? 'a delta that does not follow the cursor' : 'a state without the digest that it names';
  if (connection.restarted) return breakOff(parts, turn, kind, detail);
  fault(turn, kind, detail);
  connection.restarted = true;
  parts.link.await(connection, 'opening', turn.now);
  turn.emit({ type: 'subscribe', filter: sinceFilter(parts.stream, 0, EPOCH_NONE) });
}

/** OVERLAY-2, REFUSE-5. */
export function goOnIfReached(parts: Parts, turn: Turn, connection: Connection): void {
  if (!reach(parts, connection)) return;
  judgeOvertaken(parts, turn);
  if (parts.fork === 'none') offerAll(parts, turn);
}

/** OVERLAY-2: once the cursor is at the head of an opening, the replica has what that speaks of. True: just now. */
function reach(parts: Parts, connection: Connection): boolean {
  const { opening } = connection;
  if (opening === undefined || parts.replica.seq < opening.head) return false;
  connection.opening = undefined;
  for (const pending of covered(parts, opening.known)) {
    if (pending.standing !== 'overtaken') hide(parts, pending);
  }
  letGoOfAcked(parts);
  // By G8 the opening has them, whatever its mark says (HORIZON-3); or a disk has lost them.
  for (const pending of connection.ackedBefore) hide(parts, pending);
  connection.ackedBefore = [];
  return true;
}

/**
 * OUTBOX-9. Up to `known` the broker may have this device's intents, but it may have refused some. So the last window
 * of them is sent again; before that all were answered, and only their deletion was lost.
 */
function onMark(parts: Parts, turn: Turn, known: number): void {
  const queued = covered(parts, known).filter(({ standing }) => standing === 'queued');
  const doubtful = queued.splice(Math.max(0, queued.length - WINDOW_MAX));
  parts.outbox.setDoubtful(parts.takenOver ? [...doubtful, ...beyond(parts, known)] : doubtful);
  for (const pending of queued) acknowledge(parts, turn, pending, pending.seq);
}

/** FORK-5: what was on its way when the session was taken may be accepted after the mark was read. */
function beyond({ outbox, device }: Parts, known: number): Pending[] {
  const queued = [...outbox.queued()].filter(({ intent: { deviceSeq } }) => deviceSeq > known);
  return queued.filter(({ intent }) => intent.deviceSeq <= device.offered).slice(0, WINDOW_MAX);
}

/** This device's intents up to a `device_seq`. */
function covered({ outbox, device }: Parts, known: number): Pending[] {
  const isCovered = ({ intent }: Pending): boolean =>
    intent.deviceUuid === device.uuid && intent.deviceSeq <= known;
  return [...outbox.all()].filter(isCovered);
}

/** OVERLAY-2: what was acknowledged in another history, or as another device, has no event to wait for. */
function letGoOfAcked(parts: Parts): void {
  for (const pending of parts.outbox.all()) {
    const ofOther = pending.intent.deviceUuid !== parts.device.uuid;
    if (pending.standing === 'acked' && (ofOther || pending.ackedUnder !== parts.replica.epoch))
      hide(parts, pending);
  }
}

/** REFUSE-3: an epoch that was called wrong and is the broker's own cannot be put right. */
function setAsideDoubted(parts: Parts, turn: Turn): void {
  for (const pending of parts.outbox.unacked()) {
    const contradicted = pending.doubted && pending.intent.epoch === parts.replica.epoch;
    pending.doubted = false;
    if (!contradicted) continue;
    setAside(parts, turn, pending, { name: 'wrong_epoch', reason: 'the broker refused its own epoch' });
  }
}

/** REPLICA-7: its author acted on another history. */
function rebase(parts: Parts, turn: Turn): void {
  const { epoch } = parts.replica;
  for (const pending of parts.outbox.unacked()) {
    if (pending.intent.epoch === null || pending.intent.epoch === epoch) continue;
    pending.intent = { ...pending.intent, baseSeq: 0, epoch: known(epoch) };
    turn.putIntent(pending);
    parts.view.refresh(pending);
  }
}

/** OUTBOX-11: the broker has accepted nothing of this device, and may find that too late. */
function renewUnseen(parts: Parts, turn: Turn): void {
  const waiting = parts.outbox.unacked();
  // A crash has set the replica back; what is renewed may not have seen less than what goes before it.
  if (waiting.some(({ intent }) => intent.baseSeq > parts.replica.seq)) return;
  const renewed: Pending[] = [];
  const passedOver = new Set<string>();
  for (const pending of waiting.reverse()) {
    const entry = nameOfEntry(parts, pending);
    const lacks = pending.standing === 'queued' && pending.intent.baseSeq < parts.replica.seq;
    if (lacks && isUntouched(parts, pending) && !passedOver.has(entry)) renewed.push(pending);
    else if (entry !== NO_ENTRY) passedOver.add(entry);
  }
  for (const pending of renewed.reverse()) renew(parts, turn, pending);
}

/** Whether an intent means the same as when its author acted. */
function isUntouched(parts: Parts, pending: Pending): boolean {
  const operation = parts.view.operationOf(pending);
  return operation === undefined || operation.action.type === 'count' || isEntryAsSeen(parts, pending);
}

/** REFUSE-5. */
function judgeOvertaken(parts: Parts, turn: Turn): void {
  const pending = parts.outbox.unacked();
  const last = new Map(pending.map((one) => [nameOfEntry(parts, one), one]));
  for (const one of pending.filter(({ standing }) => standing === 'overtaken')) {
    const isLast = last.get(nameOfEntry(parts, one)) === one;
    if (isLast && isEntryAsSeen(parts, one)) renew(parts, turn, one);
    else setAside(parts, turn, one, { name: 'overtaken', reason: 'its entry has changed since' });
  }
}

/** OUTBOX-12: an intent that was certainly not accepted goes as one that has just been made. */
function renew(parts: Parts, turn: Turn, pending: Pending): void {
  const { outbox, view, device, replica } = parts;
  const { epoch, seq } = replica;
  if (pending.shown) view.hide(pending);
  pending.intent = { ...pending.intent, deviceSeq: device.takeSeq(), baseSeq: seq, epoch: known(epoch) };
  pending.shown = true;
  outbox.stand(pending, 'queued');
  outbox.moveToEnd(pending);
  view.show(pending);
  turn.putIntent(pending);
  turn.putDevice();
}

function isEntryAsSeen({ view, replica }: Parts, pending: Pending): boolean {
  const operation = view.operationOf(pending);
  return operation !== undefined && isAsSeen(replica.entry(operation), pending.saw);
}

const NO_ENTRY = '';

/** Tells entries apart; names of collections have no space. */
function nameOfEntry({ view }: Parts, pending: Pending): string {
  const operation = view.operationOf(pending);
  return operation === undefined ? NO_ENTRY : `${operation.collection} ${operation.key}`;
}

/** The epoch that an intent carries. */
function known(epoch: string): string | null {
  return epoch === EPOCH_NONE ? null : epoch;
}

/** SCHEMA-10. */
function askForOtherSchema(parts: Parts, turn: Turn, connection: Connection): void {
  parts.link.await(connection, 'other schema', turn.now);
  turn.emit({ type: 'subscribe', filter: SCHEMA_TOPIC });
}
