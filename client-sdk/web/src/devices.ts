/** The devices of a group, as presence messages tell them. Known only while connected. */
import type { DevicePresence } from './api.js';
import { presenceDevice, presenceFilter } from './protocol/ids.js';
import { decodePresence, type Presence } from './protocol/presence.js';
import { compareUtf8 } from './protocol/value.js';

/** A list that stays the same array until something changes. */
export class Devices {
  readonly filter: string;
  readonly #known = new Map<string, Presence>();
  #list: readonly DevicePresence[] = [];

  constructor(private readonly syncId: string) {
    this.filter = presenceFilter(syncId);
  }

  get list(): readonly DevicePresence[] {
    return this.#list;
  }

  /** Takes a message; true if the list is another one now. An empty message means: cleared (PRESENCE-3). */
  take(topic: string, payload: Uint8Array, own: string): boolean {
    const device = presenceDevice(this.syncId, topic);
    if (device === undefined) return false;
    if (payload.length === 0) this.#known.delete(device);
    else this.#known.set(device, decodePresence(device, payload));
    this.#list = [...this.#known.values()]
      .sort((a, b) => compareUtf8(a.deviceUuid, b.deviceUuid))
      .map((presence) => ({ ...presence, own: presence.deviceUuid === own }));
    return true;
  }

  /** Without a connection nobody is known to be here; true if the list is another one now. */
  clear(): boolean {
    const had = this.#list.length > 0;
    this.#known.clear();
    this.#list = [];
    return had;
  }
}
