// From what the probe saw to figures: pairs flashes with beeps, takes percentiles. Pure.

export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : NaN;
}

/** Frames this near to a flash tell where the element's clock stood. */
const NEAR_MS = 400;

/**
 * Beep minus flash in milliseconds, for each flash that has a beep within half a second. The flash counts at the instant
 * at which its frame is due by the element's clock: the screen shows it up to one refresh earlier or later, which is the
 * screen's doing and would hide what is measured here (in headless Chromium, up to 17 ms).
 */
export function skews({ frames, flashes, beeps }, fromMs = 0) {
  const pairs = [];
  for (const { at, mediaMs } of flashes) {
    if (at < fromMs) continue;
    const zeros = frames.filter((frame) => Math.abs(frame.at - at) < NEAR_MS).map(({ zeroAt }) => zeroAt);
    const due = mediaMs + percentile(zeros, 0.5);
    const beep = beeps.reduce((best, heard) => (Math.abs(heard - due) < Math.abs(best - due) ? heard : best), Infinity);
    if (Math.abs(beep - due) < 500) pairs.push(beep - due);
  }
  return pairs;
}

/** Latency percentiles, longest time without a new frame, frames never shown. */
export function motion({ frames }, fromMs = 0) {
  const kept = frames.filter(({ at }) => at >= fromMs);
  const gaps = kept.slice(1).map(({ at }, i) => at - kept[i].at);
  const numbers = kept.map(({ number }) => number);
  const made = numbers.length ? numbers.at(-1) - numbers[0] + 1 : 0;
  const latencies = kept.map(({ latencyMs }) => latencyMs);
  return {
    shown: new Set(numbers).size,
    made,
    backwards: numbers.slice(1).filter((n, i) => n < numbers[i]).length,
    longestGapMs: gaps.length ? Math.max(...gaps) : Infinity,
    p50: percentile(latencies, 0.5),
    p95: percentile(latencies, 0.95),
  };
}
