// Holds what a box gave against what the streamer's box signed, before anything of it is played. The seal comes from the
// same box, asked for together with the part, so that checking costs no round trip.

import type { BoxAddress } from "./boxes";
import { Behind, Forged, reach, type Check } from "./errand";
import { isInit, isPart, unseal, type EpochSeal, type PartSeal, type Verifier } from "./seals";

/** Seals of a whole segment that are asked for at once, and of how many parts it may be made. */
const TOGETHER = 8;
const PARTS_MAX = 512;
/** Media older than this is a replay: no window goes so far back. */
const STALE_MS = 180_000;
const TICKS_PER_MS = 90n;
/** Epochs whose zero is remembered. */
const ZEROS_MAX = 64;

const NAME = /^\/([0-9a-f]{16})\/(?:(\d+)(?:\.(\d+))?\.m4s|init\.mp4)$/;

export class Inspector {
  /** Parts and initialization sections that were what was signed. */
  checked = 0;
  readonly #zeros = new Map<string, bigint>();

  /** `now`: in milliseconds since 1970, by a clock that is not the box's. */
  constructor(
    private readonly verify: Verifier,
    private readonly now: () => number,
  ) {}

  /** To be called as the request goes out; what it gives, with the answer. */
  readonly begin: Check = (rest, box, signal) => {
    const name = NAME.exec(rest);
    if (!name) return null;
    const [, epoch = "", msn, part] = name;
    if (msn === undefined) {
      const seal = this.#early(`${rest}.seal`, box, signal);
      return async (body) => this.#init(await seal, epoch, body);
    }
    if (part === undefined) return (body) => this.#segment(epoch, msn, body, box, signal);
    const seal = this.#early(`${rest}.seal`, box, signal);
    return async (body) => this.#part(await seal, { epoch, msn: BigInt(msn), part: Number(part) }, new Uint8Array(body));
  };

  /** Beside the part: if that fails first, nobody hears of this one any more. */
  #early(rest: string, box: BoxAddress, signal: AbortSignal): Promise<PartSeal | EpochSeal> {
    const seal = this.#ask(rest, box, signal);
    seal.catch(() => {});
    return seal;
  }

  /** No seal is no crime: a box may have what it can't prove. It is passed over. */
  async #ask(rest: string, box: BoxAddress, signal: AbortSignal): Promise<PartSeal | EpochSeal> {
    const response = await fetch(box.base + rest, reach(box.base, signal)).catch(() => null);
    if (!response?.ok) throw new Behind(`${box.name} has no seal`);
    const seal = await unseal(await response.arrayBuffer(), this.verify);
    if (!seal) throw new Forged(`${box.name}: the seal is not the streamer's`);
    return seal;
  }

  #init(seal: PartSeal | EpochSeal, epoch: string, body: ArrayBuffer): void {
    if (seal.kind !== "epoch" || seal.epoch !== epoch || !isInit(seal, new Uint8Array(body))) throw new Forged("another initialization section");
    if (this.#zeros.size >= ZEROS_MAX) this.#zeros.clear();
    this.#zeros.set(epoch, seal.zeroUnixMs);
    this.checked += 1;
  }

  #part(seal: PartSeal | EpochSeal, name: { epoch: string; msn: bigint; part: number }, bytes: Uint8Array): PartSeal {
    const meant = seal.kind === "part" && seal.epoch === name.epoch && seal.msn === name.msn && seal.part === name.part;
    if (!meant || !isPart(seal, bytes)) throw new Forged("another part");
    const zero = this.#zeros.get(name.epoch);
    if (zero !== undefined && Number(zero + seal.endTicks / TICKS_PER_MS) < this.now() - STALE_MS) throw new Forged("a part of long ago");
    this.checked += 1;
    return seal;
  }

  /** A whole segment is its parts in a row, each with a seal of its own. */
  async #segment(epoch: string, msn: string, body: ArrayBuffer, box: BoxAddress, signal: AbortSignal): Promise<void> {
    const bytes = new Uint8Array(body);
    let at = 0;
    for (let part = 0; at < bytes.length; part += TOGETHER) {
      if (part >= PARTS_MAX) throw new Behind("a segment of too many parts");
      const numbers = Array.from({ length: TOGETHER }, (_, n) => part + n);
      const seals = await Promise.allSettled(numbers.map((n) => this.#ask(`/${epoch}/${msn}.${n}.m4s.seal`, box, signal)));
      for (const [n, seal] of seals.entries()) {
        if (at === bytes.length) break;
        if (seal.status === "rejected") throw seal.reason;
        const length = seal.value.kind === "part" ? seal.value.bytes : 0;
        this.#part(seal.value, { epoch, msn: BigInt(msn), part: part + n }, bytes.subarray(at, at + length));
        at += length;
      }
    }
  }
}
