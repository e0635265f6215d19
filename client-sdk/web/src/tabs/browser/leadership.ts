/** Who leads: whoever holds one Web Lock. It ends with its page, and can be stolen from a page that is frozen. */

/** One page's part in it. */
export class Leadership {
  #release: (() => void) | undefined;
  #waiting: AbortController | undefined;

  constructor(
    private readonly name: string,
    private readonly locks: LockManager,
    /** Another page leads now, although this one did not give way. */
    private readonly lost: () => void,
  ) {}

  /** Leads if nobody does. */
  lead(): Promise<boolean> {
    return this.#request({ ifAvailable: true });
  }

  /** Leads, whoever does now: that one gets to know when it comes to. */
  steal(): Promise<boolean> {
    return this.#request({ steal: true });
  }

  /** Calls back when this page leads because nobody else does any more. */
  wait(leads: () => void): void {
    const waiting = new AbortController();
    this.#waiting = waiting;
    void this.#request({ signal: waiting.signal }).then((has) => {
      if (has) leads();
    });
  }

  /** Neither leads nor waits any more. */
  release(): void {
    this.#waiting?.abort();
    this.#release?.();
    this.#waiting = this.#release = undefined;
  }

  #request(options: LockOptions): Promise<boolean> {
    if (this.#release !== undefined) return Promise.resolve(true);
    return new Promise((resolve) => {
      let held: (() => void) | undefined;
      const request = this.locks.request(this.name, options, (lock) => {
        if (lock === null || options.signal?.aborted === true) return resolve(false);
        this.#waiting?.abort();
        this.#waiting = undefined;
        return new Promise<void>((release) => {
          this.#release = held = release;
          resolve(true);
        });
      });
      request.catch(() => {
        resolve(false);
        if (held === undefined || this.#release !== held) return;
        this.#release = undefined;
        this.lost();
      });
    });
  }
}
