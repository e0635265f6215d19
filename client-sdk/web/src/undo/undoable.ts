/**
 * Taking back what the user did last (UNDO-1 … UNDO-4), in steps of one change or of several.
 *
 * Everything starts a microtask after it is asked for: then no listener of the client is running, in which a change would be
 * shown only later, and what stands before and after it can be read around it.
 */
import { RefusedError, type Entry, type Receipt, type Syncline } from '../api.js';
import { Client } from '../client.js';
import type { Changes } from '../change.js';
import type { CoreView } from '../driver.js';
import { CannotSayError, compose } from '../protocol/compose.js';
import type { SyncEvent } from '../protocol/event.js';
import type { Operation, Schema } from '../protocol/schema.js';
import type { Value } from '../protocol/value.js';
import { actName, isSameEntry, opposite, standing, stepOver, type Step } from './step.js';

/** UNDO-1. */
const STEPS = 100;

/** Changes that are steps. */
export interface UndoableChanges extends Changes {
  /** As the client's own. A type that the schema does not name cannot be taken back, and is no step. */
  publish(eventType: string, eventData: Value): Promise<Receipt>;
}

/** What changes are made through, so that they can be taken back. `setOf(history, 'albums')` and its like take one, too. */
export interface Undoable extends UndoableChanges {
  /** Makes all changes that `work` makes through what it is given one step, also where it fails in the middle. */
  group<T>(work: (changes: UndoableChanges) => Promise<T>): Promise<T>;
  /**
   * Publishes the opposite of the last step, online or not; resolves once that is durable here. Rejects with a
   * {@link RefusedError}: `nothing_to_undo`; `changed_since`, if anybody else has changed an entry of it (the step is gone then,
   * and nothing was changed); `cannot_say`, if the schema has no event for it (gone, too); or as `publish` does.
   */
  undo(): Promise<readonly Receipt[]>;
  /** The same with what was undone last; `nothing_to_redo`. Any other change through here ends that. */
  redo(): Promise<readonly Receipt[]>;
  /** How many steps there are to take back, and to do again. */
  readonly steps: { readonly undo: number; readonly redo: number };
  /** Calls `listener` after `steps` changed. */
  subscribe(listener: () => void): () => void;
  /** Forgets all steps, and follows the client no more. */
  close(): void;
}

/** `limit`: how many steps are kept at most, the oldest going first; 1 or more. They are in memory alone. */
export function undoable(sync: Syncline, { limit = STEPS }: { readonly limit?: number } = {}): Undoable {
  if (!(sync instanceof Client)) throw new TypeError('undoable needs what openSyncline gave');
  if (!Number.isSafeInteger(limit) || limit < 1)
    throw new RangeError(`limit ${limit} is not 1 or more steps`);
  return new History(sync, limit);
}

/** One step of the user: changes in their order. */
type Group = Step[];

type Which = 'undo' | 'redo';

interface Said {
  readonly eventType: string;
  readonly eventData: Value;
}

class History implements Undoable {
  readonly #undo: Group[] = [];
  readonly #redo: Group[] = [];
  readonly #listeners = new Set<() => void>();
  /** Of which device and schema the steps are. */
  #ground: string | undefined;
  #steps = { undo: 0, redo: 0 };
  /** The last change of a tab that follows another one. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly sync: Client,
    private readonly limit: number,
  ) {
    sync.addEventListener('event', this.#onEvent);
  }

  get steps(): { readonly undo: number; readonly redo: number } {
    return this.#steps;
  }

  publish(eventType: string, eventData: Value): Promise<Receipt> {
    return this.#change([], eventType, eventData);
  }

  get schema(): Schema | undefined {
    return this.sync.schema;
  }

  has(collection: string, key: string): boolean {
    return this.sync.has(collection, key);
  }

  value(collection: string, key: string): Value | undefined {
    return this.sync.value(collection, key);
  }

  entries(collection: string): readonly Entry[] {
    return this.sync.entries(collection);
  }

  list(collection: string, list?: string): readonly Entry[] {
    return this.sync.list(collection, list);
  }

  group<T>(work: (changes: UndoableChanges) => Promise<T>): Promise<T> {
    const group: Group = [];
    const { sync } = this;
    return work({
      publish: (eventType, eventData) => this.#change(group, eventType, eventData),
      get schema() {
        return sync.schema;
      },
      has: (collection, key) => this.has(collection, key),
      value: (collection, key) => this.value(collection, key),
      entries: (collection) => this.entries(collection),
      list: (collection, list) => this.list(collection, list),
    });
  }

  undo(): Promise<readonly Receipt[]> {
    return this.#back('undo');
  }

  redo(): Promise<readonly Receipt[]> {
    return this.#back('redo');
  }

  subscribe(listener: () => void): () => void {
    const heard = (): void => listener();
    this.#listeners.add(heard);
    return () => void this.#listeners.delete(heard);
  }

  close(): void {
    this.sync.removeEventListener('event', this.#onEvent);
    this.#clear();
    this.#tell();
  }

  async #change(group: Group, eventType: string, eventData: Value): Promise<Receipt> {
    await null;
    return this.#do(group, { eventType, eventData });
  }

  /** What the app does (UNDO-2). */
  #do(group: Group, said: Said): Promise<Receipt> {
    return this.#publish(said, (step) => {
      group.push(step);
      if (!this.#undo.includes(group)) this.#push(this.#undo, group);
      this.#redo.splice(0);
    });
  }

  /** In a tab that follows, a change shows when it is durable: so there they are made one after the other. */
  #publish(said: Said, record: (step: Step) => void): Promise<Receipt> {
    if (this.sync.leads) return this.#publishNow(said, record);
    const published = this.#last.then(() => this.#publishNow(said, record));
    this.#last = published.catch(() => undefined);
    return published;
  }

  /** Shown, and recorded, before the first wait, if this tab leads. */
  async #publishNow({ eventType, eventData }: Said, record: (step: Step) => void): Promise<Receipt> {
    const core = this.#stand();
    const operation = core.schema?.operation(eventType, eventData);
    if (operation === undefined || operation === 'bad_data') return this.sync.publish(eventType, eventData);
    const step = stepOver(core, operation);
    const isLater = !this.sync.leads;
    const publishing = this.sync.publish(eventType, eventData);
    step.after = step.act = standing(core, operation);
    record(step);
    this.#tell();
    try {
      const receipt = await publishing;
      step.deviceSeq = receipt.deviceSeq;
      if (isLater) step.after = step.act = standing(this.sync.core, operation);
      receipt.saved.catch(() => this.#forget(step));
      return receipt;
    } catch (error) {
      this.#forget(step);
      throw error;
    }
  }

  async #back(which: Which): Promise<readonly Receipt[]> {
    await null;
    if (!this.sync.leads) await this.#last;
    const core = this.#stand();
    const [from, to] = which === 'undo' ? [this.#undo, this.#redo] : [this.#redo, this.#undo];
    // Emptied, since a group that is not finished goes on with a step of its own.
    const steps = from.pop()?.splice(0).reverse();
    this.#tell();
    if (steps === undefined) throw new RefusedError(`nothing_to_${which}`, `there is nothing to ${which}`);
    const opposites = this.#opposites(core, steps);
    const done: Group = [];
    this.#push(to, done);
    const results = await Promise.allSettled(
      opposites.map(({ step, said }) => this.#takeBack(step, said, from, done)),
    );
    const failed = results.find((one) => one.status === 'rejected');
    if (failed === undefined)
      return results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    // What found no room can be taken back when there is some.
    this.#push(from, steps.filter((_, i) => results[i]?.status === 'rejected').reverse());
    this.#tell();
    throw failed.reason;
  }

  #takeBack(step: Step, said: Said, from: readonly Group[], done: Group): Promise<Receipt> {
    const receipt = this.#publish(said, (opposite) => done.push(opposite));
    // What stood under it stands again, by the act that took it back (UNDO-3).
    const under = lastOn(from.flat(), step.operation);
    if (under === undefined || under.after !== step.over) return receipt;
    const stands = (): void => void (under.after = standing(this.sync.core, step.operation));
    stands();
    receipt.then(this.sync.leads ? () => undefined : stands, () => (under.after = step.over));
    return receipt;
  }

  /** What takes the steps back, all or none: it is looked at before anything is published (UNDO-3, UNDO-4). */
  #opposites(core: CoreView, steps: readonly Step[]): { readonly step: Step; readonly said: Said }[] {
    const above: Step[] = [];
    return steps.map((step) => {
      const { operation } = step;
      const over = lastOn(above, operation)?.over;
      const now = over ?? standing(core, operation);
      // A sum is nobody's alone. Without a schema there are no steps.
      const isOurs = operation.action.type === 'count' || now === step.after;
      if (!isOurs || core.schema === undefined) throw changedSince(step);
      above.push(step);
      return { step, said: say(core.schema, { ...operation, action: opposite(step) }) };
    });
  }

  /** Another device, or another schema, and nothing of before can be taken back (UNDO-1). */
  #stand(): CoreView {
    const { core } = this.sync;
    const ground = `${core.deviceUuid} ${core.schema?.hash}`;
    if (ground !== this.#ground) {
      this.#clear();
      this.#ground = ground;
    }
    return core;
  }

  #push(stack: Group[], group: Group): void {
    stack.push(group);
    if (stack.length > this.limit) stack.shift();
  }

  /** It was refused, or never stored. */
  #forget(step: Step): void {
    for (const stack of [this.#undo, this.#redo]) {
      for (const group of stack) if (group.includes(step)) group.splice(group.indexOf(step), 1);
      const left = stack.filter((group) => group.length > 0);
      stack.splice(0, stack.length, ...left);
    }
    this.#tell();
  }

  #clear(): void {
    this.#undo.splice(0);
    this.#redo.splice(0);
  }

  /** The broker may have given an own event another clock: then that is what stands (UNDO-3). */
  readonly #onEvent = ({
    detail: { event, own },
  }: CustomEvent<{ readonly event: SyncEvent; readonly own: boolean }>): void => {
    if (!own) return;
    const all = [...this.#undo, ...this.#redo].flat();
    const mine = all.find(({ deviceSeq }) => deviceSeq !== undefined && deviceSeq === event.deviceSeq);
    if (mine === undefined || !mine.act.startsWith(event.deviceUuid)) return;
    const [then, now] = [mine.act, actName(event)];
    for (const step of all)
      for (const name of ['act', 'after', 'over'] as const) if (step[name] === then) step[name] = now;
  };

  #tell(): void {
    const [undo, redo] = [this.#undo.length, this.#redo.length];
    if (undo === this.#steps.undo && redo === this.#steps.redo) return;
    this.#steps = { undo, redo };
    for (const listener of this.#listeners) listener();
  }
}

function lastOn(steps: readonly Step[], operation: Operation): Step | undefined {
  return steps.filter((step) => isSameEntry(step.operation, operation)).at(-1);
}

function changedSince({ operation: { collection, key } }: Step): RefusedError {
  return new RefusedError(
    'changed_since',
    `${JSON.stringify(key)} in ${collection} was changed by somebody else since`,
  );
}

function say(schema: Schema, operation: Operation): Said {
  try {
    return compose(schema, operation);
  } catch (error) {
    throw error instanceof CannotSayError ? new RefusedError('cannot_say', error.message) : error;
  }
}
