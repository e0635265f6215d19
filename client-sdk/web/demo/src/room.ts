import type { DevicePresence, Syncline } from '../../src/index.js';
import type { Writes } from './lens.js';
import { Playlist } from './playlist.js';

/** The stream of the listening room: a channel beside the library's, with a retention of its own (config/demo.toml). */
export const ROOM_CHANNEL = 'room';

const QUEUE = 'queue';
/** How a window is called as a listener. Each stream has a device of its own, and the panel lists the library's. */
const LISTENER = '♪ ';

/** What is heard in the room, in order: the first now, the others later. */
export class Room {
  readonly #sync: Syncline;
  readonly queue: Playlist;

  /** `write`: how the queue is changed. */
  constructor(sync: Syncline, write: Writes) {
    this.#sync = sync;
    this.queue = new Playlist(sync, write, QUEUE);
  }

  /** Who is in the room. */
  listeners(): readonly DevicePresence[] {
    return this.#sync.devices().filter((device) => device.online && isListener(device));
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
