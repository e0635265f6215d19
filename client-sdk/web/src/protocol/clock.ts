/** The hybrid logical clock (CLOCK-1, CLOCK-2). */

/** Unix milliseconds and a logical part. */
export interface Clock {
  readonly timestamp: number;
  readonly counter: number;
}

/** Below every clock. */
export const CLOCK_ZERO: Clock = { timestamp: 0, counter: 0 };

const COUNTER_MAX = 0xffff_ffff;

/** The first clock above `highest` that is not before `now` (CLOCK-2). */
export function nextClock(highest: Clock, now: number): Clock {
  if (now > highest.timestamp) return { timestamp: now, counter: 0 };
  if (highest.counter < COUNTER_MAX) return { timestamp: highest.timestamp, counter: highest.counter + 1 };
  return { timestamp: highest.timestamp + 1, counter: 0 };
}

/** Negative: `a` is before `b` (CLOCK-1). */
export function compareClocks(a: Clock, b: Clock): number {
  return a.timestamp - b.timestamp || a.counter - b.counter;
}

/** The later of two. */
export function laterClock(a: Clock, b: Clock): Clock {
  return compareClocks(a, b) >= 0 ? a : b;
}
