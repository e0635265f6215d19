/**
 * `@syncline/client`: the same data on every device, offline included.
 *
 * @packageDocumentation
 */
import type { Syncline, SynclineOptions } from './api.js';
import { Client } from './client.js';
import { eventsTopic, streamId } from './protocol/ids.js';
import { IndexedDbStore } from './storage/indexeddb.js';
import { MemoryStore } from './storage/memory.js';
import type { Store } from './storage/store.js';
import { askToPersist, pageEnvironment } from './tabs/environment.js';
import type { BrowserScope } from './tabs/browser/scope.js';
import { Tenancy } from './tabs/tenancy.js';
import { credentialsOf } from './transport/credentials.js';
import { MqttTransport } from './transport/mqtt.js';

export * from './api.js';
export * from './change.js';
export * from './collections.js';
export * from './history.js';
export * from './typed.js';
export * from './undo/undoable.js';
export type { Action, Schema } from './protocol/schema.js';
export type { AskToken, Token } from './transport/credentials.js';
export type { StoragePlace, StoreEnd } from './storage/store.js';
export type { SyncEvent } from './protocol/event.js';
export type { Presence } from './protocol/presence.js';
export type { Value, ValueMap } from './protocol/value.js';

/**
 * Opens a stream: resolves when what is stored is loaded, before the network is there. Throws a `RangeError` for an
 * address, a name or credentials that cannot be, and an `Error` that says so where `storage: 'indexeddb'` was asked for and
 * the browser does not give it, or where a newer version of the page has stored something; its `cause` is what the browser says.
 */
export async function openSyncline(options: SynclineOptions): Promise<Syncline> {
  const stream = streamId(options.syncId, options.channel ?? null);
  const transport = new MqttTransport(options.url, options.name ?? null, credentialsOf(options));
  // Another broker's data is another's, also where the group has the same name, and so is another user's.
  const user = options.username === undefined ? '' : ` as ${options.username}`;
  const name = `syncline ${options.url} ${eventsTopic(stream)}${user}`;
  const { store, fault } = await openStore(options.storage, name);
  const tenancy = new Tenancy(name, store, pageEnvironment());
  const scope = options.deviceScope === 'browser' ? await openScope(name, tenancy) : undefined;
  const client = await Client.open({ stream, transport, tenancy, scope });
  // When whoever opened it has had the time to listen.
  setTimeout(() => {
    if (fault !== undefined) client.tellFault('storage', fault);
    if (client.deviceScope !== (options.deviceScope ?? 'tab')) client.tellFault('scope', NO_SCOPE);
  });
  return client;
}

const NO_SCOPE =
  'one device for all tabs needs Web Locks (https) and IndexedDB: this tab is a device of its own';

/** Loaded where it is asked for: most of it is needed nowhere else. */
async function openScope(name: string, tenancy: Tenancy): Promise<BrowserScope | undefined> {
  const { locks } = tenancy.environment;
  if (locks === undefined || tenancy.store.kind !== 'indexeddb') return undefined;
  const { BrowserScope } = await import('./tabs/browser/scope.js');
  return new BrowserScope(name, tenancy, locks);
}

interface Opened {
  readonly store: Store;
  /** Why it is not as durable as it might be. */
  readonly fault?: string;
}

async function openStore(kind: SynclineOptions['storage'], name: string): Promise<Opened> {
  if (typeof kind === 'object') return { store: await kind.open(name) };
  if (kind === 'memory' || (kind === undefined && !globalThis.indexedDB)) return { store: new MemoryStore() };
  try {
    const store = await IndexedDbStore.open(name);
    askToPersist();
    return { store };
  } catch (cause) {
    if (cause instanceof Error && cause.name === 'VersionError')
      throw new Error('a newer version of this page has stored changes here: reload it', { cause });
    const what = `this browser gives no storage to keep changes in (${String(cause)})`;
    if (kind === 'indexeddb') throw new Error(what, { cause });
    return { store: new MemoryStore(), fault: `${what}; they end with this page` };
  }
}
