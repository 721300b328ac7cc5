// The stage: the picture, what is said over it, and its controls. It shows what the session says and passes on what
// the viewer wants; it knows nothing of playlists.

import { h, icon, say } from "../page/dom";
import type { Source } from "./loader";
import { Session } from "./session";
import { isBusy, showsPicture, words, type WatchState, type Words } from "./state";

export interface Stage {
  element: HTMLElement;
  session: Session;
}

interface Options {
  /** The streamer's preview: muted for good, no controls but full screen. */
  preview?: boolean;
  onstate?: (state: WatchState) => void;
}

export function stage(name: string, source: Source, options: Options = {}): Stage {
  const video = h("video", { playsinline: true, muted: true, autoplay: true, "aria-label": `Stream ${name}`, disableremoteplayback: true });
  // The attribute alone does not mute an element made by a script.
  video.muted = true;
  const curtain = h("canvas", { class: "curtain", hidden: true, "aria-hidden": "true" });
  const notice = makeNotice(() => session.retry());
  const show = (state: WatchState): void => {
    element.dataset["state"] = state;
    notice.show(state, said(state));
    if (state === "playing") curtain.hidden = true;
    options.onstate?.(state);
  };
  const said = (state: WatchState): Words | null => {
    if (state === "playing" && video.videoWidth === 0) return SOUND_ONLY;
    return state === "locked" ? { title: words(state).title, detail: sentence(session.refusal ?? "") } : null;
  };
  const session = new Session(video, source, show, () => drawCurtain(curtain, video));
  const element = h(
    "section",
    { class: `stage${options.preview ? " stage-preview" : ""}`, "aria-label": "Player", "data-state": "connecting" },
    video,
    curtain,
    notice.element,
    options.preview ? null : unmuteButton(video),
    options.preview ? null : h("button", { type: "button", class: "big-play", "aria-label": "Play", onclick: () => session.jumpToLive() }, icon("play")),
  );
  element.append(controls(element, video, session, options.preview ?? false));
  notice.show("connecting");
  restControls(element);
  session.start();
  return { element, session };
}

/** A box's reason as a sentence of its own. */
function sentence(reason: string): string {
  return reason && `${reason[0]?.toUpperCase()}${reason.slice(1)}.`;
}

const REST_MS = 3000;
const SOUND_ONLY: Words = { title: "Sound only", detail: "" };

/** Keeps the last picture in sight while the element gets a new source. */
function drawCurtain(curtain: HTMLCanvasElement, video: HTMLVideoElement): void {
  if (!video.videoWidth || video.readyState < 2) return;
  curtain.width = video.videoWidth;
  curtain.height = video.videoHeight;
  curtain.getContext("2d")?.drawImage(video, 0, 0);
  curtain.hidden = false;
}

function makeNotice(retry: () => void): { element: HTMLElement; show(state: WatchState, other?: Words | null): void } {
  const title = h("p", { class: "notice-title" });
  const detail = h("p", { class: "notice-detail" });
  const again = h("button", { type: "button", class: "button", hidden: true, onclick: retry }, "Try again");
  const wheel = h("div", { class: "wheel", "aria-hidden": "true" });
  const element = h("div", { class: "notice", role: "status", "aria-live": "polite" }, wheel, title, detail, again);
  return {
    element,
    show(state, other = null) {
      const said = other ?? words(state);
      const quiet = !other && showsPicture(state) && state !== "buffering" && state !== "catching-up";
      say(title, quiet ? "" : said.title);
      say(detail, quiet ? "" : said.detail);
      element.hidden = quiet;
      wheel.hidden = !isBusy(state);
      again.hidden = state !== "failed" && state !== "unsupported";
      element.classList.toggle("small", showsPicture(state));
    },
  };
}

/** Browsers start a picture by themselves only without sound: say so, and make one press enough. */
function unmuteButton(video: HTMLVideoElement): HTMLElement {
  const button = h("button", { type: "button", class: "unmute" }, icon("muted"), "Turn sound on");
  button.addEventListener("click", () => {
    video.muted = false;
    if (video.volume === 0) video.volume = 1;
    void video.play().catch(() => {});
  });
  video.addEventListener("volumechange", () => {
    button.hidden = !video.muted;
  });
  return button;
}

function controls(element: HTMLElement, video: HTMLVideoElement, session: Session, preview: boolean): HTMLElement {
  const full = h("button", { type: "button", class: "control", "aria-label": "Full screen" }, icon("full"));
  full.addEventListener("click", () => toggleFull(element, video));
  if (preview) return h("div", { class: "controls" }, h("span", { class: "spacer" }), full);

  const play = h("button", { type: "button", class: "control" });
  play.addEventListener("click", () => togglePlay(video, session));
  const refreshPlay = (): void => {
    play.replaceChildren(icon(video.paused ? "play" : "pause"));
    play.setAttribute("aria-label", video.paused ? "Play" : "Pause");
  };
  video.addEventListener("play", refreshPlay);
  video.addEventListener("pause", refreshPlay);
  refreshPlay();

  const live = h("button", { type: "button", class: "control live-edge", onclick: () => session.jumpToLive() }, "Go to live");
  element.addEventListener("keydown", (event) => keys(event, element, video, session));
  return h("div", { class: "controls" }, play, ...volume(video), h("span", { class: "spacer" }), live, full);
}

function volume(video: HTMLVideoElement): HTMLElement[] {
  const mute = h("button", { type: "button", class: "control" });
  const slider = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0, class: "volume", "aria-label": "Volume" });
  const refresh = (): void => {
    const silent = video.muted || video.volume === 0;
    mute.replaceChildren(icon(silent ? "muted" : "sound"));
    mute.setAttribute("aria-label", silent ? "Turn sound on" : "Turn sound off");
    slider.value = String(video.muted ? 0 : video.volume);
  };
  mute.addEventListener("click", () => {
    video.muted = !(video.muted || video.volume === 0);
    if (!video.muted && video.volume === 0) video.volume = 1;
  });
  slider.addEventListener("input", () => {
    video.volume = Number(slider.value);
    video.muted = video.volume === 0;
  });
  video.addEventListener("volumechange", refresh);
  refresh();
  return [mute, slider];
}

/** Takes the controls away while nobody touches the stage; the style sheet keeps them for the keyboard. */
function restControls(element: HTMLElement): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const touched = (): void => {
    element.classList.remove("resting");
    clearTimeout(timer);
    timer = setTimeout(() => element.classList.add("resting"), REST_MS);
  };
  for (const event of ["pointerdown", "pointermove", "keydown", "focusin"]) element.addEventListener(event, touched);
  touched();
}

function togglePlay(video: HTMLVideoElement, session: Session): void {
  if (video.paused) session.jumpToLive();
  else video.pause();
}

/** iPhones make only the video element itself fill the screen. */
type PhoneVideo = HTMLVideoElement & { webkitEnterFullscreen?: () => void };

function toggleFull(element: HTMLElement, video: PhoneVideo): void {
  if (document.fullscreenElement) void document.exitFullscreen();
  else if (element.requestFullscreen) void element.requestFullscreen().catch(() => {});
  else video.webkitEnterFullscreen?.();
}

function keys(event: KeyboardEvent, element: HTMLElement, video: HTMLVideoElement, session: Session): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
  const onButton = event.target instanceof HTMLButtonElement;
  if (event.key === "m") video.muted = !video.muted;
  else if (event.key === "f") toggleFull(element, video);
  else if (event.key === "k" || (event.key === " " && !onButton)) togglePlay(video, session);
  else return;
  event.preventDefault();
}
