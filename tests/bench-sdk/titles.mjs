/** What is measured, in the words that `bench-sdk`, the part in Rust, prints too. Times are in milliseconds. */
export const ENQUEUE_EMPTY = 'enqueue, 0 pending (ms)';
export const ENQUEUE_LONG = 'enqueue, 3,000 pending (ms)';
export const FIRST_RENDER = 'first render from disk (ms)';
export const COLD_JOIN = 'cold join (bytes)';
export const CATCH_UP = 'catch-up of 1 % (bytes)';

/** In the order of the table. */
export const TITLES = [
  { title: ENQUEUE_EMPTY, digits: 2 },
  { title: ENQUEUE_LONG, digits: 2 },
  { title: FIRST_RENDER, digits: 1 },
  { title: COLD_JOIN, digits: 0 },
  { title: CATCH_UP, digits: 0 },
];
