import type { DevicePresence, Syncline } from '../../src/index.js';

/** The stream of the listening room: a channel beside the library's, with a retention of its own (config/demo.toml). */
export const ROOM_CHANNEL = 'room';

const PLAYLIST = 'queue';
/** How a window is called as a listener. Each stream has a device of its own, and the panel lists the library's. */
const LISTENER = '♪ ';

/** Something that is to be heard, in its place. */
export interface Queued {
  readonly id: string;
  readonly trackId: string;
  /** True while a change of this window is not confirmed. */
  readonly pending: boolean;
}

/** What is heard in the room, in order: the first now, the others later. */
export class Room {
  readonly #sync: Syncline;

  constructor(sync: Syncline) {
    this.#sync = sync;
  }

  queue(): readonly Queued[] {
    const items = this.#sync.list('playlists', PLAYLIST);
    return items.map(({ key, value, pending }) => ({ id: key, trackId: String(value), pending }));
  }

  /** Who is in the room. */
  listeners(): readonly DevicePresence[] {
    return this.#sync.devices().filter((device) => device.online && isListener(device));
  }

  /** Puts a track at the end. */
  async add(trackId: string): Promise<void> {
    await this.#put({ item_id: mint(), track_id: trackId });
  }

  /** Moves an item one place: up (-1) or down (1). */
  async move(id: string, by: -1 | 1): Promise<void> {
    const queue = this.queue();
    const at = queue.findIndex((item) => item.id === id);
    const [item, to] = [queue[at], at + by];
    if (item === undefined || to < 0 || to >= queue.length) return;
    // Behind the item that comes before it then: of those that are left.
    const after = queue.filter((other) => other !== item)[to - 1]?.id ?? null;
    await this.#put({ item_id: id, track_id: item.trackId, after });
  }

  async take(id: string): Promise<void> {
    await this.#publish('take_from_playlist', { item_id: id });
  }

  async #put(item: Readonly<Record<string, string | null>>): Promise<void> {
    await this.#publish('put_in_playlist', { ...item, playlist_id: PLAYLIST });
  }

  async #publish(eventType: string, eventData: Readonly<Record<string, string | null>>): Promise<void> {
    const receipt = await this.#sync.publish(eventType, eventData);
    // A refusal is told by `setaside`.
    receipt.saved.catch(() => undefined);
  }
}

export function listenerName(name: string): string {
  return `${LISTENER}${name}`;
}

export function isListener({ name }: Pick<DevicePresence, 'name'>): boolean {
  return name?.startsWith(LISTENER) ?? false;
}

/** A name for people, whether of a window or of the same one as a listener. */
export function plainName(name: string): string {
  return name.startsWith(LISTENER) ? name.slice(LISTENER.length) : name;
}

/** A track may be queued twice, so an item has an id of its own. */
function mint(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
