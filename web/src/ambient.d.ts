// What the bundler understands and the type checker has to be told.

/** hls.js without subtitles, DRM and alternative audio: the same interface. */
declare module "hls.js/light" {
  export * from "hls.js";
  export { default } from "hls.js";
}
