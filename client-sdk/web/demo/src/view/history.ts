import type { SyncEvent } from '../../../src/index.js';
import { byId } from '../dom.js';
import type { Lens } from '../lens.js';
import type { PastReader } from '../past.js';
import { described } from './log.js';

export interface HistoryContext {
  readonly lens: Lens;
  readonly past: PastReader;
  /** The last event that this window has. */
  head(): number;
  /** Whether the broker can be asked. */
  isOnline(): boolean;
  /** What to call a device. */
  who(deviceUuid: string): string;
  /** The lens shows another moment. */
  moved(): void;
  tell(text: string): void;
}

/** A slider over the events that are still kept: the library as it was behind each of them. */
export class HistoryView {
  readonly #context: HistoryContext;
  readonly #button = byId('history', HTMLButtonElement);
  readonly #bar = byId('history-bar', HTMLElement);
  readonly #slider = byId('moment', HTMLInputElement);
  readonly #label = byId('moment-label', HTMLElement);
  readonly #now = byId('history-now', HTMLButtonElement);
  /** Ends what is being read, when something else is wanted. */
  #reading = new AbortController();
  #isOpen = false;

  constructor(context: HistoryContext) {
    this.#context = context;
    this.#button.addEventListener('click', () => (this.#isOpen ? this.close() : void this.#open()));
    this.#slider.addEventListener('input', () => void this.#look());
    this.#now.addEventListener('click', () => {
      this.close();
      this.#button.focus();
    });
  }

  /** An event has come: the slider reaches one further, and stays at the present if it was there. */
  push(event: SyncEvent): void {
    if (!this.#isOpen) return;
    const wasNow = this.#at === this.#context.past.events.length;
    this.#context.past.push(event);
    this.#stretch();
    if (wasNow) this.#slider.value = this.#slider.max;
    this.#say();
  }

  close(): void {
    this.#reading.abort();
    this.#isOpen = false;
    this.#show(null);
    this.#frame();
  }

  async #open(): Promise<void> {
    const { past, head, isOnline, tell } = this.#context;
    if (!isOnline())
      return tell('History is read from the broker. It can be opened once this window is online.');
    this.#isOpen = true;
    this.#frame();
    this.#label.textContent = 'Reading…';
    try {
      await past.open(head());
    } catch (problem) {
      tell(`The history could not be read: ${reasonOf(problem)}`);
      return this.close();
    }
    if (!this.#isOpen) return;
    this.#stretch();
    this.#slider.value = this.#slider.max;
    this.#say();
    this.#slider.focus();
  }

  /** How many of the events count at the moment that is looked at. */
  get #at(): number {
    return this.#slider.valueAsNumber;
  }

  async #look(): Promise<void> {
    this.#reading.abort();
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    const { past, tell } = this.#context;
    this.#say();
    if (this.#at === past.events.length) return this.#show(null);
    const first = past.events[0]?.seq ?? 1;
    try {
      const state = await past.state(past.events[this.#at - 1]?.seq ?? first - 1, signal);
      if (!signal.aborted) this.#show(state);
    } catch (problem) {
      if (!signal.aborted) tell(`That moment could not be read: ${reasonOf(problem)}`);
    }
  }

  #show(state: Parameters<Lens['look']>[0]): void {
    const { lens, moved } = this.#context;
    if (state === null && !lens.isPast) return;
    lens.look(state);
    document.body.toggleAttribute('data-past', lens.isPast);
    moved();
  }

  #frame(): void {
    this.#bar.hidden = !this.#isOpen;
    this.#button.setAttribute('aria-expanded', String(this.#isOpen));
  }

  #stretch(): void {
    this.#slider.max = String(this.#context.past.events.length);
  }

  #say(): void {
    const { past, who } = this.#context;
    const text = momentText(past.events, this.#at, who);
    this.#label.textContent = text;
    this.#slider.setAttribute('aria-valuetext', text);
  }
}

function momentText(events: readonly SyncEvent[], at: number, who: (uuid: string) => string): string {
  if (events.length === 0) return 'Nothing has happened yet';
  const event = events[at - 1];
  if (event === undefined) return 'Before the first change that is kept';
  const { mark, subject } = described(event);
  const when = new Date(event.acceptedAt).toLocaleTimeString();
  const what = `${when} · ${mark} ${subject} · ${who(event.deviceUuid)}`;
  return at === events.length ? `Now · last change ${what}` : what;
}

function reasonOf(problem: unknown): string {
  return problem instanceof Error ? problem.message : String(problem);
}
