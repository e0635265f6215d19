/**
 * `@syncline/client`: the same data on every device, offline included.
 *
 * @packageDocumentation
 */
import type { Syncline, SynclineOptions } from './api.js';

export * from './api.js';
export type { SyncEvent } from './protocol/event.js';
export type { Presence } from './protocol/presence.js';
export type { Value, ValueMap } from './protocol/value.js';

/** Opens a stream: resolves when the replica and the outbox are loaded, before the network is there. */
export declare function openSyncline(options: SynclineOptions): Promise<Syncline>;
