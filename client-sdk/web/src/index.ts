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
import { pageEnvironment } from './tabs/environment.js';
import { Tenancy } from './tabs/tenancy.js';
import { MqttTransport } from './transport/mqtt.js';

export * from './api.js';
export type { SyncEvent } from './protocol/event.js';
export type { Presence } from './protocol/presence.js';
export type { Value, ValueMap } from './protocol/value.js';

/**
 * Opens a stream: resolves when what is stored is loaded, before the network is there. Throws a `RangeError` for an
 * address or a name that cannot be, and an `Error` that says so if the browser does not give its storage (some private
 * windows and framed pages); its `cause` is what the browser says. `storage: 'memory'` works there, for as long as the
 * page lives.
 */
export async function openSyncline(options: SynclineOptions): Promise<Syncline> {
  const stream = streamId(options.syncId, options.channel ?? null);
  const { username, password = '' } = options;
  const credentials = () =>
    username === undefined
      ? {}
      : { username, password: typeof password === 'function' ? password() : password };
  const transport = new MqttTransport(options.url, options.name ?? null, credentials);
  // Another broker's data is another's, also where the group has the same name, and so is another user's.
  const user = username === undefined ? '' : ` as ${username}`;
  const name = `syncline ${options.url} ${eventsTopic(stream)}${user}`;
  const store = await openStore(options.storage, name);
  return Client.open({ stream, transport, tenancy: new Tenancy(name, store, pageEnvironment()) });
}

async function openStore(kind: SynclineOptions['storage'], name: string): Promise<Store> {
  const durable = kind === undefined ? 'indexedDB' in globalThis : kind === 'indexeddb';
  if (!durable) return new MemoryStore();
  try {
    return await IndexedDbStore.open(name);
  } catch (cause) {
    throw new Error(`this browser gives no storage to keep changes in (${String(cause)})`, { cause });
  }
}
