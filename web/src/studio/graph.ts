// A small line graph of the last minutes: an area under a line, its range in words beside it, a readout under the
// pointer. Gaps in the data stay gaps.

import { h, say, svg } from "../page/dom";

export interface Point {
  atMs: number;
  value: number | null;
}

interface Options {
  label: string;
  format: (value: number | null) => string;
  /** The scale holds at least this range, so that noise is not drawn as drama. */
  span: { low: number; high: number };
  /** A stripe that means all is well. */
  fine?: { low: number; high: number };
}

const WIDTH = 300;
const HEIGHT = 64;
/** Samples further apart than this are not joined. */
const GAP_MS = 4000;

export class Graph {
  readonly element: HTMLElement;
  readonly #plot: SVGSVGElement;
  readonly #value = h("span", { class: "graph-value" });
  readonly #range = h("span", { class: "graph-range" });
  #points: Point[] = [];
  #pointed: Point | null = null;

  constructor(private readonly options: Options) {
    this.#plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.#plot.addEventListener("pointermove", (event) => this.#point(event));
    this.#plot.addEventListener("pointerleave", () => {
      this.#pointed = null;
      this.#tell();
    });
    this.element = h("figure", { class: "graph" }, h("figcaption", {}, h("span", {}, options.label), this.#value), this.#plot, this.#range);
  }

  show(points: Point[]): void {
    this.#points = points;
    this.#draw();
    this.#tell();
  }

  #scale(): { low: number; high: number } {
    const values = this.#points.flatMap(({ value }) => (value === null ? [] : [value]));
    return { low: Math.min(this.options.span.low, ...values), high: Math.max(this.options.span.high, ...values) };
  }

  #draw(): void {
    const { low, high } = this.#scale();
    const y = (value: number): number => 3 + (HEIGHT - 6) * (1 - (value - low) / (high - low || 1));
    const [from, to] = [this.#points[0]?.atMs ?? 0, this.#points.at(-1)?.atMs ?? 1];
    const x = (atMs: number): number => (WIDTH * (atMs - from)) / (to - from || 1);
    const runs = this.#runs().map((run) => run.map(({ atMs, value }) => `${x(atMs).toFixed(1)} ${y(value).toFixed(1)}`));
    const line = runs.map((run) => `M${run.join("L")}`).join("");
    const base = y(Math.max(low, Math.min(0, high))).toFixed(1);
    const area = runs.map((run) => `M${run[0]?.split(" ")[0]} ${base}L${run.join("L")}L${run.at(-1)?.split(" ")[0]} ${base}Z`).join("");
    const { fine } = this.options;
    const stripe = fine ? svg("rect", { class: "graph-fine", x: 0, width: WIDTH, y: y(fine.high), height: Math.max(1, y(fine.low) - y(fine.high)) }) : "";
    this.#plot.replaceChildren(stripe, svg("path", { class: "graph-area", d: area }), svg("path", { class: "graph-line", d: line }));
  }

  /** Stretches without a gap. */
  #runs(): { atMs: number; value: number }[][] {
    const runs: { atMs: number; value: number }[][] = [];
    let last = -Infinity;
    for (const { atMs, value } of this.#points) {
      if (value === null) continue;
      if (atMs - last > GAP_MS) runs.push([]);
      runs.at(-1)?.push({ atMs, value });
      last = atMs;
    }
    return runs;
  }

  #point(event: PointerEvent): void {
    const box = this.#plot.getBoundingClientRect();
    const share = (event.clientX - box.left) / (box.width || 1);
    const [from, to] = [this.#points[0]?.atMs ?? 0, this.#points.at(-1)?.atMs ?? 0];
    const at = from + share * (to - from);
    this.#pointed = this.#points.reduce<Point | null>((best, p) => (!best || Math.abs(p.atMs - at) < Math.abs(best.atMs - at) ? p : best), null);
    this.#tell();
  }

  #tell(): void {
    const { format, label } = this.options;
    const newest = this.#points.at(-1);
    const told = this.#pointed ?? newest;
    const ago = this.#pointed && newest ? Math.round((newest.atMs - this.#pointed.atMs) / 1000) : 0;
    say(this.#value, `${format(told?.value ?? null)}${ago > 0 ? `, ${ago} s ago` : ""}`);
    const values = this.#points.flatMap(({ value }) => (value === null ? [] : [value]));
    const range = values.length ? `${format(Math.min(...values))} to ${format(Math.max(...values))}` : "no data yet";
    const minutes = newest && this.#points[0] ? Math.round((newest.atMs - this.#points[0].atMs) / 60_000) : 0;
    say(this.#range, `${range}${minutes > 0 ? ` in ${minutes} min` : ""}`);
    this.#plot.setAttribute("aria-label", `${label}: ${format(newest?.value ?? null)}, ${range}`);
  }
}
