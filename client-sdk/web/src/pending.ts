/** The changes that wait, as an app sees them: the same array until they change. */
import type { PendingEvent } from './api.js';
import type { PendingIntent } from './core/messages.js';
import type { CoreView } from './driver.js';

/** Of the core at hand, which may be another one later. */
export class PendingEvents {
  #core: CoreView | undefined;
  #inputs = -1;
  #list: readonly PendingEvent[] = [];

  constructor(private readonly core: () => CoreView) {}

  /** Looked up once per input of the core, however often it is asked for. */
  get list(): readonly PendingEvent[] {
    const core = this.core();
    if (this.#core !== core || this.#inputs !== core.inputs) this.#look(core);
    return this.#list;
  }

  #look(core: CoreView): void {
    this.#core = core;
    this.#inputs = core.inputs;
    const pending = core.pending();
    if (pending.length === this.#list.length && pending.every((one, i) => isSame(one, this.#list[i]))) return;
    this.#list = pending.map(eventOf);
  }
}

/** What an intent says never changes, only how far it is. */
function isSame({ id, stage }: PendingIntent, event: PendingEvent | undefined): boolean {
  return event?.id === id && event.stage === stage;
}

function eventOf({ id, stage, intent }: PendingIntent): PendingEvent {
  const { eventType, eventData, clock } = intent;
  return { id, eventType, eventData, createdAt: clock.timestamp, stage };
}
