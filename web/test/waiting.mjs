// Waits for a condition, bounded. Nothing in these tests waits for a time to pass and then hopes.

const STEP_MS = 100;

/** The first truthy value of `ask`; an error that names `what` once `ms` have passed. */
export async function until(ms, what, ask) {
  const deadline = performance.now() + ms;
  for (;;) {
    const value = await ask();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`waited ${ms / 1000} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
}

export function expect(condition, message) {
  if (!condition) throw new Error(message);
}
