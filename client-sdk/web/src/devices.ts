/** The devices of a group, as presence messages tell them. Known only while connected. */
import type { DevicePresence } from './api.js';
import { presenceDevice, presenceFilter } from './protocol/ids.js';
import { decodePresence, type Presence } from './protocol/presence.js';
import { compareUtf8 } from './protocol/value.js';

/** A list that stays the same array until something changes. */
export class Devices {
  readonly filter: string;
  readonly #known = new Map<string, Presence>();
  /** What people call devices, also of those that are not known to be here now. */
  readonly #names = new Map<string, string>();
  #list: readonly DevicePresence[] = [];
  /** Grows when what people call a device changes. */
  namings = 0;

  constructor(private readonly syncId: string) {
    this.filter = presenceFilter(syncId);
  }

  get list(): readonly DevicePresence[] {
    return this.#list;
  }

  get(deviceUuid: string): Presence | undefined {
    return this.#known.get(deviceUuid);
  }

  /** undefined: it was not seen, or has none. */
  nameOf(deviceUuid: string): string | undefined {
    return this.#names.get(deviceUuid);
  }

  /** Takes a message; true if the list is another one now. An empty message means: cleared (PRESENCE-3). */
  take(topic: string, payload: Uint8Array, own: string): boolean {
    const device = presenceDevice(this.syncId, topic);
    if (device === undefined) return false;
    if (payload.length === 0) this.#forget(device);
    else this.#learn(decodePresence(device, payload));
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

  #learn(presence: Presence): void {
    const { deviceUuid, name } = presence;
    this.#known.set(deviceUuid, presence);
    if (name === (this.#names.get(deviceUuid) ?? null)) return;
    this.namings += 1;
    if (name === null) this.#names.delete(deviceUuid);
    else this.#names.set(deviceUuid, name);
  }

  #forget(deviceUuid: string): void {
    this.#known.delete(deviceUuid);
    if (this.#names.delete(deviceUuid)) this.namings += 1;
  }
}
