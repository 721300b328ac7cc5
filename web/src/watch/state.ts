// The states of watching a stream, and the words for them.
//
//   connecting -> waiting | unknown | locked | starting
//   starting -> playing <-> buffering, catching-up, paused
//   any of these -> interrupted | ended | waiting | unreachable | locked -> starting
//   starting fails too often -> failed -> (the viewer asks) connecting

export type WatchState =
  | "connecting"
  | "unknown"
  | "locked"
  | "waiting"
  | "starting"
  | "playing"
  | "buffering"
  | "catching-up"
  | "paused"
  | "interrupted"
  | "ended"
  | "unreachable"
  | "unsupported"
  | "failed";

export interface Words {
  title: string;
  detail: string;
}

const WORDS: Record<WatchState, Words> = {
  connecting: { title: "Connecting…", detail: "" },
  unknown: { title: "No such stream", detail: "This box has no stream of this name. If it is created, it will start here by itself." },
  locked: { title: "This stream is not open to everybody", detail: "" },
  waiting: { title: "Waiting for the stream to start…", detail: "It will start here by itself." },
  starting: { title: "Starting…", detail: "The first whole group of pictures is on its way." },
  playing: { title: "Live", detail: "" },
  buffering: { title: "Buffering…", detail: "" },
  "catching-up": { title: "Catching up…", detail: "" },
  paused: { title: "Paused", detail: "" },
  interrupted: { title: "The stream was interrupted", detail: "Waiting for the streamer to come back. It will go on here by itself." },
  ended: { title: "The stream has ended", detail: "If it starts again, it will play here by itself." },
  unreachable: { title: "The box does not answer", detail: "Trying again…" },
  unsupported: { title: "This browser can't play the stream", detail: "Try another browser, or open the address below in VLC." },
  failed: { title: "The stream can't be played", detail: "Several attempts failed." },
};

export function words(state: WatchState): Words {
  return WORDS[state];
}

/** States in which the picture is moving or about to: nothing covers it. */
export function showsPicture(state: WatchState): boolean {
  return state === "playing" || state === "catching-up" || state === "paused" || state === "buffering";
}

/** States in which something is under way, so that a sign of it may turn. */
export function isBusy(state: WatchState): boolean {
  return ["connecting", "waiting", "starting", "buffering", "interrupted", "unreachable"].includes(state);
}
