// What the streamer's box signed of each part and initialization section, and whether bytes are that
// (docs/relay-protocol.md). Refuses to say what a playlist is worth: it only names parts, and a name binds a seal.

import { blake3 } from "@noble/hashes/blake3.js";

/** Says whether the stream's key signed it. */
export type Verifier = (message: Uint8Array, signature: Uint8Array) => Promise<boolean>;

export interface PartSeal {
  kind: "part";
  serial: bigint;
  epoch: string;
  msn: bigint;
  part: number;
  /** In 90 kHz ticks from the epoch's zero. */
  endTicks: bigint;
  bytes: number;
  /** BLAKE3 of each block, 32 bytes each. */
  hashes: Uint8Array;
}

export interface EpochSeal {
  kind: "epoch";
  serial: bigint;
  epoch: string;
  initBytes: number;
  initHash: Uint8Array;
  zeroUnixMs: bigint;
}

const BLOCK_BYTES = 16_384;
const MAGIC = [0x52, 0x42, 0x73, 0x01];
const SIGNATURE_BYTES = 64;
const HASH_BYTES = 32;
const LABEL = new TextEncoder().encode("relaybox/media\0");
const EPOCH = 1;
const PART = 2;
/** Where an item's own content begins, behind magic, kind and stamp. */
const CONTENT_AT = 78;
const SERIAL_AT = 5;
/** Of a part: where its hashes begin. */
const HASHES_AT = CONTENT_AT + 42;

/** The item, once its signature was checked; null if it is none of the two, or not signed by this key. */
export async function unseal(sealed: ArrayBuffer, verify: Verifier): Promise<PartSeal | EpochSeal | null> {
  const bytes = new Uint8Array(sealed);
  if (bytes.length < CONTENT_AT + SIGNATURE_BYTES) return null;
  const body = bytes.subarray(0, bytes.length - SIGNATURE_BYTES);
  const message = new Uint8Array(LABEL.length + body.length);
  message.set(LABEL);
  message.set(body, LABEL.length);
  if (!(await verify(message, bytes.subarray(body.length)))) return null;
  return read(body);
}

function read(body: Uint8Array): PartSeal | EpochSeal | null {
  if (MAGIC.some((byte, at) => body[at] !== byte)) return null;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const serial = view.getBigUint64(SERIAL_AT);
  const hex = (at: number): string => view.getBigUint64(at).toString(16).padStart(16, "0");
  if (body[4] === PART && body.length >= HASHES_AT) {
    const bytes = view.getUint32(HASHES_AT - 4);
    const hashes = body.subarray(HASHES_AT);
    if (bytes === 0 || hashes.length !== HASH_BYTES * Math.ceil(bytes / BLOCK_BYTES)) return null;
    const endTicks = view.getBigInt64(CONTENT_AT + 20) + view.getBigInt64(CONTENT_AT + 28);
    return { kind: "part", serial, epoch: hex(CONTENT_AT), msn: view.getBigUint64(CONTENT_AT + 8), part: view.getUint32(CONTENT_AT + 16), endTicks, bytes, hashes };
  }
  if (body[4] === EPOCH && body.length >= CONTENT_AT + 60) {
    return { kind: "epoch", serial, epoch: hex(CONTENT_AT + 36), initBytes: view.getUint32(CONTENT_AT), initHash: body.subarray(CONTENT_AT + 4, CONTENT_AT + 36), zeroUnixMs: view.getBigInt64(CONTENT_AT + 52) };
  }
  return null;
}

/** Whether these bytes are the part, block by block. */
export function isPart(seal: PartSeal, bytes: Uint8Array): boolean {
  if (bytes.length !== seal.bytes) return false;
  for (let at = 0, block = 0; at < bytes.length; at += BLOCK_BYTES, block += 1) {
    const hash = seal.hashes.subarray(HASH_BYTES * block, HASH_BYTES * (block + 1));
    if (!same(blake3(bytes.subarray(at, at + BLOCK_BYTES)), hash)) return false;
  }
  return true;
}

export function isInit(seal: EpochSeal, bytes: Uint8Array): boolean {
  return bytes.length === seal.initBytes && same(blake3(bytes), seal.initHash);
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

/** With the browser's own Ed25519 where there is one: only on pages that came by https, and in newer browsers. */
export async function verifierOf(key: string): Promise<Verifier> {
  const raw = fromBase64Url(key);
  try {
    const imported = await crypto.subtle.importKey("raw", raw, { name: "Ed25519" }, false, ["verify"]);
    return (message, signature) => crypto.subtle.verify({ name: "Ed25519" }, imported, signature as Uint8Array<ArrayBuffer>, message as Uint8Array<ArrayBuffer>);
  } catch {
    const [ed25519, { sha512 }] = await Promise.all([import("@noble/ed25519"), import("@noble/hashes/sha2.js")]);
    ed25519.hashes.sha512 = sha512;
    return async (message, signature) => {
      try {
        return ed25519.verify(signature, message, raw, { zip215: false });
      } catch {
        return false;
      }
    };
  }
}

function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
}
