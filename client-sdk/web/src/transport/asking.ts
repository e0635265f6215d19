/**
 * A connection that first asks what to show (WEB-6): a token or a password of the moment.
 *
 * What the broker refuses is asked for once more at once; if that is refused, too, the connection is not made. A token is
 * renewed in place while the connection stands.
 */
import type { Shown } from './credentials.js';
import type { Ending, Link, LinkListener } from './transport.js';

/** Where a fresh token is published (WALL-8). */
const TOKEN_TOPIC = '$syncline/token';
/** When to ask again for a token that was not to be had while the old one still counts. */
const RENEW_AGAIN_MS = 5_000;
/** Timers count in 32 bits: a longer wait would be none. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** A connection that can be told a fresh token. */
export interface Dialled extends Link {
  /** Publishes at QoS 0: nothing waits for its answer. */
  tell(topic: string, text: string): void;
}

/** What outlives one connection. */
export interface Asking {
  readonly ask: (signal: AbortSignal) => Promise<Shown>;
  /** Whether what was given last was refused: then asking twice would only double the tries. */
  refused: boolean;
}

/** See above. */
export class AskingLink implements Link {
  readonly #unwanted = new AbortController();
  #link: Dialled | undefined;
  #renewal: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly asking: Asking,
    /** Makes a connection that shows this. */
    private readonly dial: (shown: Shown, listener: LinkListener) => Dialled,
    private readonly listener: LinkListener,
  ) {
    void this.#connect();
  }

  subscribe(...parameters: Parameters<Link['subscribe']>): void {
    this.#link?.subscribe(...parameters);
  }

  publish(...parameters: Parameters<Link['publish']>): void {
    this.#link?.publish(...parameters);
  }

  probe(msMax: number): Promise<boolean> {
    return this.#link?.probe(msMax) ?? Promise.resolve(true);
  }

  close(): void {
    this.#stop();
    this.#link?.close();
  }

  async #connect(): Promise<void> {
    const shown = await this.#ask().catch((error: unknown) => this.#end(messageOf(error), 'no_credentials'));
    if (shown === undefined || this.#isOver) return;
    try {
      this.#link = this.dial(shown, {
        connected: (limits) => {
          this.asking.refused = false;
          this.#renewLater(shown);
          this.listener.connected(limits);
        },
        message: (topic, payload) => this.listener.message(topic, payload),
        disconnected: (reason, how) => this.#onDisconnected(reason, how),
      });
    } catch (error) {
      // A page may not open every address: none without TLS from a page that has it.
      this.#end(messageOf(error), 'lost');
    }
  }

  #onDisconnected(reason: string, how: Ending): void {
    if (how !== 'refused') return this.#end(reason, how);
    if (this.asking.refused) return this.#end(reason, 'no_credentials');
    this.asking.refused = true;
    void this.#connect();
  }

  async #ask(): Promise<Shown> {
    return this.asking.ask(this.#unwanted.signal);
  }

  #renewLater(shown: Shown): void {
    const renewInMs = shown.type === 'token' ? shown.token.renewInMs : undefined;
    if (renewInMs === undefined) return;
    this.#renewal = setTimeout(() => void this.#renew(shown), Math.min(renewInMs, TIMER_MS_MAX));
  }

  /** What the broker does not take ends the connection in time, and the next one begins with a fresh token. */
  async #renew(old: Shown): Promise<void> {
    const fresh = await this.#ask().catch(() => undefined);
    if (this.#isOver) return;
    if (fresh?.type !== 'token') {
      this.#renewal = setTimeout(() => void this.#renew(old), RENEW_AGAIN_MS);
      return;
    }
    this.#link?.tell(TOKEN_TOPIC, fresh.token.text);
    this.#renewLater(fresh);
  }

  get #isOver(): boolean {
    return this.#unwanted.signal.aborted;
  }

  #stop(): void {
    clearTimeout(this.#renewal);
    this.#unwanted.abort();
  }

  #end(reason: string, how: Ending): undefined {
    if (this.#isOver) return;
    this.#stop();
    this.listener.disconnected(reason, how);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
