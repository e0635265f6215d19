/**
 * The app's side of a client: views, receipts, events. What it does is the core's; see `runner.ts` for how.
 *
 * A client may have to move to another slot, and so to another device, while it lives (WEB-4). Intents that were not
 * durable yet are then published again; those that were are delivered by whoever has the old slot.
 */
import {
  RefusedError,
  type Conflict,
  type DevicePresence,
  type Entry,
  type PendingEvent,
  type Receipt,
  type SetAside,
  type Status,
  type Syncline,
  type SynclineEvents,
  type Wiped,
} from './api.js';
import type { CoreStatus } from './core/messages.js';
import { Courier } from './courier.js';
import { Devices } from './devices.js';
import type { CoreView, Driver, Published } from './driver.js';
import { PendingEvents } from './pending.js';
import type { StreamId } from './protocol/ids.js';
import type { Schema } from './protocol/schema.js';
import { BadValueError, toValue, type Value } from './protocol/value.js';
import { Receipts } from './receipts.js';
import { Runner, type RunnerListener, type Told } from './runner.js';
import {
  SlotLostError,
  StoreEndedError,
  type AsideRow,
  type SlotSummary,
  type Store,
  type StoreEnd,
} from './storage/store.js';
import type { BrowserScope, Part } from './tabs/browser/scope.js';
import type { Tenancy, Tenure } from './tabs/tenancy.js';
import type { Transport } from './transport/transport.js';
import { Views } from './views.js';
import { FULL } from './writer.js';

const EVENT_TYPE_CHARACTERS_MAX = 64;
/** How long changes are rejected at once after one found no room, which costs a connection each time (WEB-8). */
const FULL_MS = 5_000;
/** How many set-aside intents are kept; the oldest goes for one too many (TOLD-3). */
const ASIDE_MAX = 1_000;
/** What `subscribe` listens to. */
const UPDATE = 'update';

/** What a client works with. */
export interface ClientOptions {
  readonly stream: StreamId;
  readonly tenancy: Tenancy;
  readonly transport: Transport;
  /** All tabs are one device; absent: each is its own. */
  readonly scope?: BrowserScope | undefined;
}

/** What the broker did not take (WEB-6). */
interface Unauthorized {
  readonly reason: string;
  /** Nothing more is tried until the app says so. */
  readonly isFinal: boolean;
}

/** See {@link Syncline}. */
export class Client implements Syncline {
  readonly #target = new EventTarget();
  readonly #options: ClientOptions;
  readonly #devices: Devices;
  readonly #courier: Courier;
  readonly #receipts: Receipts;
  readonly #pending = new PendingEvents(() => this.#runner.core);
  readonly #views: Views;
  readonly #stopWaking: () => void;
  #part: Part;
  #runner: Driver;
  #moving: Promise<void> | undefined;
  #wanted = true;
  #unauthorized: Unauthorized | undefined;
  #closed = false;
  #closing: Promise<void> | undefined;
  #status: Status = { state: 'connecting', pending: 0 };
  #setAside: readonly SetAside[];
  #updating = false;
  #namings = 0;
  /** When a change last found no room; Unix ms. */
  #fullAt = -Infinity;

  private constructor(options: ClientOptions, part: Part, aside: readonly AsideRow[]) {
    const { tenancy, stream, transport } = options;
    this.#options = options;
    this.#devices = new Devices(stream.syncId);
    this.#receipts = new Receipts({
      devices: this.#devices,
      channel: stream.channel,
      epoch: () => this.#runner.core.epoch,
    });
    this.#views = new Views(
      () => this.#runner.core,
      (device) => this.#devices.nameOf(device),
    );
    this.#courier = new Courier({
      tenancy,
      stream,
      transport,
      setAside: (row) => this.#onSetAside(row),
    });
    this.#setAside = aside.map(setAsideOf);
    this.#part = part;
    this.#runner = this.#newRunner(part);
    this.#stopWaking = tenancy.environment.onWake(() => this.#wake());
    tenancy.store.onEnd((end) => this.#onStoreEnd(end));
  }

  /** Loads what is stored and starts connecting. */
  static async open(options: ClientOptions): Promise<Client> {
    const { tenancy, scope } = options;
    try {
      const part = scope === undefined ? { tenure: await tenancy.settle() } : await scope.settle();
      const client = new Client(options, part, await tenancy.store.aside());
      client.#runner.start();
      return client;
    } catch (error) {
      scope?.close();
      tenancy.close();
      throw error;
    }
  }

  get deviceUuid(): string {
    return this.#runner.core.deviceUuid;
  }

  get syncId(): string {
    return this.#options.stream.syncId;
  }

  get channel(): string | null {
    return this.#options.stream.channel;
  }

  /** For what stands beside the client in this package; it is another one after a move (WEB-4). */
  get core(): CoreView {
    return this.#runner.core;
  }

  /** Whether what this page publishes is in its view at once; else it is when it is durable (WEB-16). */
  get leads(): boolean {
    return this.#runner.leads;
  }

  get status(): Status {
    return this.#status;
  }

  get deviceScope(): 'tab' | 'browser' {
    return this.#options.scope === undefined ? 'tab' : 'browser';
  }

  get storage(): Store['kind'] {
    return this.#options.tenancy.store.kind;
  }

  get schema(): Schema | undefined {
    return this.#runner.core.schema;
  }

  get seq(): number {
    return this.#runner.core.seq;
  }

  async publish(eventType: string, eventData: Value): Promise<Receipt> {
    const characters = [...eventType].length;
    if (characters < 1 || characters > EVENT_TYPE_CHARACTERS_MAX) {
      throw new RefusedError('not_an_event', 'event_type has 1 to 64 characters');
    }
    const value = checked(eventData);
    // Either way, because somebody may set the clock.
    if (Math.abs(this.#options.tenancy.environment.now() - this.#fullAt) < FULL_MS)
      throw new RefusedError('quota_exceeded', FULL);
    return this.#publish(eventType, value, this.#options.tenancy.newDevice());
  }

  entries(collection: string): readonly Entry[] {
    return this.#views.entries(collection);
  }

  has(collection: string, key: string): boolean {
    return this.value(collection, key) !== undefined;
  }

  value(collection: string, key: string): Value | undefined {
    return this.#views.value(collection, key);
  }

  list(collection: string, list?: string): readonly Entry[] {
    return this.#views.list(collection, list ?? null);
  }

  conflicts(collection: string): readonly Conflict[] {
    return this.#views.conflicts(collection);
  }

  pendingEvents(): readonly PendingEvent[] {
    return this.#pending.list;
  }

  devices(): readonly DevicePresence[] {
    return this.#devices.list;
  }

  setAside(): readonly SetAside[] {
    return this.#setAside;
  }

  async dismiss(id: string): Promise<boolean> {
    if (this.#closed) throw new Error('the client is closed');
    await this.#options.tenancy.store.dismiss(id);
    const before = this.#setAside;
    this.#setAside = before.filter((one) => one.id !== id);
    this.#update();
    return this.#setAside.length < before.length;
  }

  setOnline(online: boolean): void {
    this.#wanted = online;
    this.#unauthorized = undefined;
    this.#runner.setOnline(online);
    // The runner may have been off already, for another reason.
    if (this.#status.state === 'needs_auth') this.#showStatus();
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  wipe(): Promise<Wiped> {
    if (this.#closed)
      return Promise.reject(new Error('the client is closed: open it again to wipe what it stored'));
    const wiping = this.#wipe();
    this.#closing = wiping.then(
      () => undefined,
      () => undefined,
    );
    return wiping;
  }

  /** For whoever opens a client, and knows of a fault before. */
  tellFault(kind: string, detail: string): void {
    this.#tell('fault', { kind, detail });
  }

  subscribe(listener: () => void): () => void {
    const heard = (): void => listener();
    this.#target.addEventListener(UPDATE, heard);
    return () => this.#target.removeEventListener(UPDATE, heard);
  }

  addEventListener<K extends keyof SynclineEvents>(
    type: K,
    listener: (event: CustomEvent<SynclineEvents[K]>) => void,
    options?: AddEventListenerOptions | boolean,
  ): void {
    this.#target.addEventListener(type, listener as EventListener, options);
  }

  removeEventListener<K extends keyof SynclineEvents>(
    type: K,
    listener: (event: CustomEvent<SynclineEvents[K]>) => void,
    options?: EventListenerOptions | boolean,
  ): void {
    this.#target.removeEventListener(type, listener as EventListener, options);
  }

  async #publish(eventType: string, eventData: Value, request: string): Promise<Receipt> {
    // Assigned before `publish` resolves.
    let receipt!: Receipt;
    let id: number | undefined;
    const runner = this.#runner;
    try {
      const taken = (published: Published): void => {
        // Another intent may get this number.
        if (id !== undefined) this.#receipts.forget(id, new SlotLostError());
        id = published.id;
        receipt = this.#receipts.expect(published);
      };
      await runner.publish(eventType, eventData, taken, request);
      return receipt;
    } catch (error) {
      if (id !== undefined) this.#receipts.forget(id, error as Error);
      if (!(error instanceof SlotLostError) || this.#closed) throw error;
      await this.#moving;
      // There was no other slot to be had.
      if (this.#runner === runner) throw error;
      return this.#publish(eventType, eventData, request);
    }
  }

  // What the runner tells

  #newRunner(part: Part): Driver {
    const { tenancy, stream, transport, scope } = this.#options;
    const options = {
      tenancy,
      stream,
      transport,
      online: this.#wanted && this.#unauthorized?.isFinal !== true,
      listener: this.#listener(),
    };
    // Without a scope each tab leads itself.
    return scope?.driver(part, options) ?? new Runner({ ...options, tenure: tenureOf(part) });
  }

  #listener(): RunnerListener {
    return {
      told: (output) => this.#told(output),
      setAside: (row) => this.#onSetAside(row),
      connected: (link) => link.subscribe(this.#devices.filter, false),
      message: (topic, payload) => this.#onPresence(topic, payload),
      unauthorized: (reason, isFinal) => void (this.#unauthorized = { reason, isFinal }),
      full: (detail) => this.tellFault('storage', detail),
      overfull: () => this.#onOverfull(),
      lost: () => this.#move(),
      switched: (online) => this.setOnline(online),
      otherLeader: () => this.#keepReceipts(),
      failed: (error) => this.#onFailed(error),
    };
  }

  #told(output: Told): void {
    switch (output.type) {
      case 'receipt':
        this.#receipts.take(output);
        // An entry may wait no more, although its value is the same.
        return this.#onChanged(this.#views.collections);
      case 'event':
        return this.#tell('event', { event: output.event, own: output.own });
      case 'changed':
        return this.#onChanged([output.collection]);
      case 'status':
        return this.#onStatus(output);
      case 'fault':
        return this.tellFault(output.kind, output.detail);
      case 'send':
        return this.#update();
    }
  }

  #onSetAside(row: AsideRow): void {
    const one = setAsideOf(row);
    this.#setAside = [...this.#setAside, one];
    // One that stays goes with the next.
    for (const { id } of this.#setAside.slice(0, -ASIDE_MAX)) this.dismiss(id).catch(() => undefined);
    this.#tell('setaside', one);
  }

  #onChanged(collections: readonly string[]): void {
    if (collections.length === 0) return;
    for (const collection of collections) this.#views.forget(collection);
    this.#tell('change', { collections });
    this.#receipts.look();
  }

  #onStatus(status: CoreStatus): void {
    const before = this.#status;
    const isOnline = status.phase === 'online';
    const { reason, isFinal } = this.#unauthorized ?? {};
    // It may have ended otherwise since.
    if (isOnline || (isFinal === false && status.reason !== reason)) this.#unauthorized = undefined;
    this.#showStatus();
    if (status.phase === 'offline') this.#forgetDevices();
    if (isOnline && before.state !== 'saved' && before.state !== 'saving' && this.#runner.leads)
      this.#courier.look();
  }

  #showStatus(): void {
    const core = this.#runner.core.status;
    if (this.#unauthorized === undefined) return this.#setStatus(statusOf(core));
    const { reason, isFinal } = this.#unauthorized;
    const before = this.#status.state === 'needs_auth' ? this.#status : undefined;
    const soon = core.nextRetryAt ?? before?.retryAt ?? this.#options.tenancy.environment.now();
    const retryAt = isFinal ? null : soon;
    // While it is tried again nothing is known that was not known before.
    if (before?.reason === reason && before.retryAt === retryAt && before.pending === core.pending) return;
    this.#setStatus({ state: 'needs_auth', pending: core.pending, retryAt, reason });
  }

  #setStatus(status: Status): void {
    this.#status = status;
    this.#tell('status', status);
  }

  #onPresence(topic: string, payload: Uint8Array): void {
    try {
      if (!this.#devices.take(topic, payload, this.deviceUuid)) return;
    } catch (error) {
      return this.#tell('fault', { kind: 'bad_message', detail: `${topic}: ${String(error)}` });
    }
    this.#tell('presence', { devices: this.#devices.list });
    this.#receipts.look();
    if (this.#namings === this.#devices.namings) return;
    this.#namings = this.#devices.namings;
    const renamed = this.#views.forgetNames();
    if (renamed.length > 0) this.#tell('change', { collections: renamed });
  }

  /** Without a connection nobody is known to be here. */
  #forgetDevices(): void {
    if (this.#devices.clear()) this.#tell('presence', { devices: this.#devices.list });
  }

  /** STORE-4. */
  #onFailed(error: unknown): void {
    const reason = `the browser's storage failed: ${String(error)}`;
    this.#setStatus({ state: 'offline', pending: this.#status.pending, retryAt: null, reason });
    this.#forgetDevices();
    this.#receipts.rejectAll(new Error(reason));
  }

  // Other slots, and the end

  async #close(): Promise<void> {
    await this.#stop();
    this.#options.scope?.close();
    this.#options.tenancy.close();
    this.#receipts.close(new Error('the client is closed'));
  }

  /** Resolves once everything is durable, and nothing more comes. */
  async #stop(): Promise<void> {
    this.#closed = true;
    this.#stopWaking();
    await this.#moving;
    await this.#courier.stop();
    await this.#runner.stop();
  }

  async #wipe(): Promise<Wiped> {
    const { tenancy } = this.#options;
    try {
      await this.#stop();
      // What all tabs share is counted as this one's.
      const isOther = ({ scope }: SlotSummary): boolean => this.deviceScope === 'tab' || scope === undefined;
      const others = (await tenancy.others()).filter(isOther);
      const pending = others.reduce((sum, { waiting }) => sum + waiting, this.#runner.core.status.pending);
      await tenancy.store.wipe();
      this.#end(new StoreEndedError('wiped'));
      return { pending };
    } catch (error) {
      await this.#close();
      throw error;
    }
  }

  /** Another tab wiped the store or needs it for itself, or the browser took it away (WEB-7, WEB-9). */
  #onStoreEnd(end: StoreEnd): void {
    const error = new StoreEndedError(end);
    this.#closed = true;
    this.#stopWaking();
    this.#runner.end(error);
    void this.#courier.stop();
    if (end !== 'wiped') this.tellFault('storage', error.message);
    this.#end(error);
  }

  #end(error: StoreEndedError): void {
    const { tenancy, scope } = this.#options;
    const { end: cause, message: reason } = error;
    if (cause === 'wiped') {
      tenancy.forget();
      this.#setAside = [];
    }
    scope?.close();
    tenancy.close();
    this.#receipts.close(error);
    this.#forgetDevices();
    const pending = cause === 'wiped' ? 0 : this.#status.pending;
    this.#setStatus({ state: 'closed', pending, cause, reason });
  }

  /** WEB-8: what is stored goes on; what found no room is as if it had never been. */
  #onOverfull(): void {
    this.#fullAt = this.#options.tenancy.environment.now();
    this.tellFault('storage', `${FULL}: a change was rejected`);
    this.#moving = this.#reload().catch((error: unknown) =>
      error instanceof SlotLostError ? this.#move() : this.#onFailed(error),
    );
  }

  async #reload(): Promise<void> {
    const { slot, owner } = tenureOf(this.#part);
    const stored = await this.#options.tenancy.store.read(slot, owner);
    this.#part = { tenure: { slot, owner, stored } };
    this.#restart();
  }

  /** WEB-4. */
  #move(): void {
    if (this.#options.scope === undefined) this.#receipts.rejectAll(new SlotLostError());
    this.#wanted = this.#runner.wanted ?? this.#wanted;
    this.#forgetDevices();
    if (this.#closed) return;
    this.#moving = this.#settleElsewhere().catch((error: unknown) => this.#onFailed(error));
  }

  async #settleElsewhere(): Promise<void> {
    const { tenancy, scope } = this.#options;
    if (scope !== undefined) this.#part = await scope.settle();
    else {
      const left = tenureOf(this.#part);
      tenancy.release(left);
      this.#part = { tenure: await tenancy.settle(left.slot) };
    }
    this.#restart();
    if (scope !== undefined) this.#keepReceipts();
  }

  #restart(): void {
    if (this.#closed) return;
    this.#runner = this.#newRunner(this.#part);
    this.#runner.start();
    this.#onChanged(this.#views.collections);
  }

  /** WEB-17. */
  #keepReceipts(): void {
    this.#receipts.keepOnly(new Set(this.core.pending().map(({ id }) => id)));
  }

  /** WEB-10. What was refused for good would only be refused again. */
  #wake(): void {
    if (this.#wanted && this.#unauthorized?.isFinal !== true) this.#runner.wake();
  }

  #tell<K extends keyof SynclineEvents>(type: K, detail: SynclineEvents[K]): void {
    this.#target.dispatchEvent(new CustomEvent(type, { detail }));
    this.#update();
  }

  /** Tells those who `subscribe`. */
  #update(): void {
    if (this.#updating) return;
    this.#updating = true;
    queueMicrotask(() => {
      this.#updating = false;
      this.#target.dispatchEvent(new Event(UPDATE));
    });
  }
}

function tenureOf(part: Part): Tenure {
  if ('tenure' in part) return part.tenure;
  throw new Error('this tab follows another one');
}

function checked(eventData: unknown): Value {
  try {
    return toValue(eventData);
  } catch (error) {
    if (error instanceof BadValueError) throw new RefusedError('bad_value', error.message);
    throw error;
  }
}

function setAsideOf({ id, intent: { eventType, eventData }, refusal, reason }: AsideRow): SetAside {
  return { id, eventType, eventData, refusal, reason };
}

function statusOf({ phase, label, pending, nextRetryAt, reason }: CoreStatus): Status {
  if (phase === 'offline')
    return { state: 'offline', pending, retryAt: nextRetryAt ?? null, reason: reason ?? null };
  if (phase === 'connecting') return { state: 'connecting', pending };
  return label === 'saved' ? { state: 'saved', pending: 0 } : { state: 'saving', pending };
}
