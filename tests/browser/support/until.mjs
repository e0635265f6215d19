/** Waiting for conditions, never for time to pass. */

const POLL_MS = 25;

/** Resolves with the first truthy answer of `condition`; rejects after the deadline, saying what was awaited. */
export async function until(what, condition, deadlineMs = 15_000) {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const answer = await condition();
    if (answer) return answer;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
