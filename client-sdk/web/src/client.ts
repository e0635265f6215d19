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
  type Receipt,
  type SetAside,
  type Status,
  type Syncline,
  type SynclineEvents,
} from './api.js';
import type { CoreStatus, Receipt as ReceiptOutput } from './core/messages.js';
import { Courier } from './courier.js';
import { Devices } from './devices.js';
import type { StreamId } from './protocol/ids.js';
import { BadValueError, toValue, type Value } from './protocol/value.js';
import { Runner, type RunnerListener, type Told } from './runner.js';
import { SlotLostError } from './storage/store.js';
import type { Tenancy, Tenure } from './tabs/tenancy.js';
import type { Transport } from './transport/transport.js';
import { Views } from './views.js';

const EVENT_TYPE_CHARACTERS_MAX = 64;
/** What `subscribe` listens to. */
const UPDATE = 'update';

/** What a client works with. */
export interface ClientOptions {
  readonly stream: StreamId;
  readonly tenancy: Tenancy;
  readonly transport: Transport;
}

interface Saved {
  readonly resolve: (saved: { readonly seq: number | null }) => void;
  readonly reject: (error: Error) => void;
}

/** See {@link Syncline}. */
export class Client implements Syncline {
  readonly #target = new EventTarget();
  readonly #options: ClientOptions;
  readonly #devices: Devices;
  readonly #courier: Courier;
  readonly #saved = new Map<number, Saved>();
  readonly #views = new Views(() => this.#runner.core);
  readonly #stopWaking: () => void;
  #tenure: Tenure;
  #runner: Runner;
  #moving: Promise<void> | undefined;
  #wanted = true;
  #closed = false;
  #closing: Promise<void> | undefined;
  #status: Status = { state: 'connecting', pending: 0 };
  #setAside: readonly SetAside[] = [];
  #updating = false;

  private constructor(options: ClientOptions, tenure: Tenure) {
    const { tenancy, stream, transport } = options;
    this.#options = options;
    this.#devices = new Devices(stream.syncId);
    this.#courier = new Courier({
      tenancy,
      stream,
      transport,
      setAside: (intent) => this.#onSetAside(intent),
    });
    this.#tenure = tenure;
    this.#runner = this.#newRunner(tenure);
    this.#stopWaking = tenancy.environment.onWake(() => this.#wake());
  }

  /** Loads what is stored and starts connecting. */
  static async open(options: ClientOptions): Promise<Client> {
    const { tenancy } = options;
    try {
      const client = new Client(options, await tenancy.settle());
      client.#runner.start();
      return client;
    } catch (error) {
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

  get status(): Status {
    return this.#status;
  }

  get seq(): number {
    return this.#runner.core.seq;
  }

  async publish(eventType: string, eventData: Value): Promise<Receipt> {
    const characters = [...eventType].length;
    if (characters < 1 || characters > EVENT_TYPE_CHARACTERS_MAX) {
      throw new RefusedError('not_an_event', 'event_type has 1 to 64 characters');
    }
    return this.#publish(eventType, checked(eventData));
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

  devices(): readonly DevicePresence[] {
    return this.#devices.list;
  }

  setAside(): readonly SetAside[] {
    return this.#setAside;
  }

  setOnline(online: boolean): void {
    this.#wanted = online;
    this.#runner.setOnline(online);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
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

  async #publish(eventType: string, eventData: Value): Promise<Receipt> {
    let saved: Receipt['saved'] | undefined;
    try {
      const { deviceSeq } = await this.#runner.publish(
        eventType,
        eventData,
        ({ id }) => (saved = this.#await(id)),
      );
      return { deviceSeq, saved: saved ?? Promise.resolve({ seq: null }) };
    } catch (error) {
      if (!(error instanceof SlotLostError) || this.#closed) throw error;
      const lost = this.#runner;
      await this.#moving;
      // There was no other slot to be had.
      if (this.#runner === lost) throw error;
      return this.#publish(eventType, eventData);
    }
  }

  /** The promise of a receipt. An app that does not ask for it is not troubled by its rejection. */
  #await(id: number): Receipt['saved'] {
    const saved = new Promise<{ readonly seq: number | null }>((resolve, reject) =>
      this.#saved.set(id, { resolve, reject }),
    );
    saved.catch(() => undefined);
    return saved;
  }

  // What the runner tells

  #newRunner(tenure: Tenure): Runner {
    const { tenancy, stream, transport } = this.#options;
    return new Runner({
      tenancy,
      tenure,
      stream,
      transport,
      online: this.#wanted,
      listener: this.#listener(),
    });
  }

  #listener(): RunnerListener {
    return {
      told: (output) => this.#told(output),
      connected: (link) => link.subscribe(this.#devices.filter, false),
      message: (topic, payload) => this.#onPresence(topic, payload),
      lost: () => this.#move(),
      failed: (error) => this.#onFailed(error),
    };
  }

  #told(output: Told): void {
    switch (output.type) {
      case 'receipt':
        return this.#onReceipt(output);
      case 'set_aside': {
        const { eventType, eventData } = output.intent;
        return this.#onSetAside({ eventType, eventData, refusal: output.name, reason: output.reason });
      }
      case 'event':
        return this.#tell('event', { event: output.event, own: output.own });
      case 'changed':
        return this.#onChanged([output.collection]);
      case 'status':
        return this.#onStatus(output);
      case 'fault':
        return this.#tell('fault', { kind: output.kind, detail: output.detail });
    }
  }

  #onReceipt(receipt: ReceiptOutput): void {
    const saved = this.#saved.get(receipt.id);
    this.#saved.delete(receipt.id);
    switch (receipt.outcome) {
      case 'saved':
        saved?.resolve({ seq: receipt.seq ?? null });
        break;
      case 'refused':
        saved?.reject(new RefusedError(receipt.name, receipt.reason));
        break;
      case 'superseded':
        this.#follow(saved, receipt.by);
    }
    // An entry may wait no more, although its value is the same.
    this.#onChanged(this.#views.collections);
  }

  /** A superseded intent ends as the one that replaced it (OUTBOX-10). */
  #follow(saved: Saved | undefined, by: number): void {
    if (saved === undefined) return;
    const next = this.#saved.get(by);
    this.#saved.set(by, {
      resolve: (seq) => [next, saved].forEach((one) => one?.resolve(seq)),
      reject: (error) => [next, saved].forEach((one) => one?.reject(error)),
    });
  }

  #onSetAside(intent: SetAside): void {
    this.#setAside = [...this.#setAside, intent];
    this.#tell('setaside', intent);
  }

  #onChanged(collections: readonly string[]): void {
    if (collections.length === 0) return;
    for (const collection of collections) this.#views.forget(collection);
    this.#tell('change', { collections });
  }

  #onStatus(status: CoreStatus): void {
    const before = this.#status;
    this.#setStatus(statusOf(status));
    if (status.phase === 'offline') this.#forgetDevices();
    const isOnline = status.phase === 'online';
    if (isOnline && before.state !== 'saved' && before.state !== 'saving') this.#courier.look();
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
    this.#rejectSaved(new Error(reason));
  }

  // Other slots, and the end

  async #close(): Promise<void> {
    this.#closed = true;
    this.#stopWaking();
    await this.#moving;
    await this.#courier.stop();
    await this.#runner.stop();
    this.#options.tenancy.close();
    this.#rejectSaved(new Error('the client is closed'));
  }

  /** WEB-4. */
  #move(): void {
    this.#rejectSaved(new SlotLostError());
    this.#forgetDevices();
    if (this.#closed) return;
    this.#moving = this.#settleElsewhere().catch((error: unknown) => this.#onFailed(error));
  }

  async #settleElsewhere(): Promise<void> {
    const { tenancy } = this.#options;
    const left = this.#tenure;
    tenancy.release(left);
    this.#tenure = await tenancy.settle(left.slot);
    this.#runner = this.#newRunner(this.#tenure);
    this.#runner.start();
    this.#onChanged(this.#views.collections);
  }

  #wake(): void {
    if (this.#wanted) this.#runner.setOnline(true);
  }

  #rejectSaved(error: Error): void {
    for (const saved of this.#saved.values()) saved.reject(error);
    this.#saved.clear();
  }

  #tell<K extends keyof SynclineEvents>(type: K, detail: SynclineEvents[K]): void {
    this.#target.dispatchEvent(new CustomEvent(type, { detail }));
    if (this.#updating) return;
    this.#updating = true;
    queueMicrotask(() => {
      this.#updating = false;
      this.#target.dispatchEvent(new Event(UPDATE));
    });
  }
}

function checked(eventData: unknown): Value {
  try {
    return toValue(eventData);
  } catch (error) {
    if (error instanceof BadValueError) throw new RefusedError('bad_value', error.message);
    throw error;
  }
}

function statusOf({ phase, label, pending, nextRetryAt, reason }: CoreStatus): Status {
  if (phase === 'offline')
    return { state: 'offline', pending, retryAt: nextRetryAt ?? null, reason: reason ?? null };
  if (phase === 'connecting') return { state: 'connecting', pending };
  return label === 'saved' ? { state: 'saved', pending: 0 } : { state: 'saving', pending };
}
