import { byId } from '../dom.js';
import type { Item } from '../playlist.js';
import type { Room } from '../room.js';
import { deviceLabel } from './devices.js';
import { OrderedList, type OrderedActions } from './ordered.js';

/** What a person may do in the room. */
export interface RoomActions extends OrderedActions {
  /** The first is over: it counts as played, and the next one is heard. */
  next(item: Item): void;
}

/** The listening room: what is heard now and what comes next, the same in every window. */
export class RoomView {
  readonly #list: OrderedList;
  readonly #next = byId('next', HTMLButtonElement);
  #first: Item | undefined;

  constructor(actions: RoomActions) {
    this.#list = new OrderedList(byId('queue', HTMLElement), actions);
    this.#next.addEventListener('click', () => {
      if (this.#first) actions.next(this.#first);
    });
  }

  show(room: Room): void {
    const queue = room.queue.items();
    this.#first = queue[0];
    this.#list.show(queue);
    this.#next.hidden = queue.length === 0;
    byId('queue-empty', HTMLElement).hidden = queue.length > 0;
    const count = byId('queue-count', HTMLElement);
    count.hidden = false;
    count.textContent = String(queue.length);
    this.#showListeners(room);
  }

  #showListeners(room: Room): void {
    const names = room
      .listeners()
      .map((device) => (device.own ? 'this window' : deviceLabel([device], device.deviceUuid)));
    byId('listeners', HTMLElement).textContent =
      names.length === 0 ? '' : `Listening: ${names.sort().join(', ')}`;
  }
}
