// Runs inside the page under test: reads flash, beep, frame number and clock of the test picture (source.mjs) off a
// video element. What it sees is what a viewer sees: canvas and sound output, not the player's own figures.

window.startProbe = async (video, picture) => {
  const { width, height, rate, cell, numberBits, clockBits, clockHz } = picture;
  const seen = { frames: [], flashes: [], beeps: [] };
  const marks = context2d(numberBits * cell, 2 * cell);
  const corner = context2d(4, 4);

  const readRow = (pixels, row, bits) => {
    let value = 0;
    for (let k = 0; k < bits; k += 1) {
      const at = 4 * ((row * cell + cell / 2) * numberBits * cell + k * cell + cell / 2);
      if (pixels[at + 1] > 128) value += 2 ** k;
    }
    return value;
  };
  const fromGray = (gray) => {
    let value = gray;
    for (let shift = 1; shift < clockBits; shift *= 2) value ^= value >> shift;
    return value;
  };

  let flashing = false;
  const onFrame = (now, meta) => {
    // Two rows of cells in the corner, and the mean of the quarter that flashes.
    marks.drawImage(video, 0, 0, numberBits * cell, 2 * cell, 0, 0, numberBits * cell, 2 * cell);
    corner.drawImage(video, width / 2 + 20, height / 2 + 20, width / 2 - 40, height / 2 - 40, 0, 0, 4, 4);
    const pixels = marks.getImageData(0, 0, numberBits * cell, 2 * cell).data;
    const shownAt = meta.expectedDisplayTime;
    const number = readRow(pixels, 0, numberBits);
    const clock = fromGray(readRow(pixels, 1, clockBits));
    const unixMs = Date.now() + (shownAt - performance.now());
    const span = 2 ** clockBits;
    const behind = (((unixMs / 1000) * clockHz - clock - 0.5) % span + span) % span;
    // Where zero of the element's own clock lies, by which it shows and sounds.
    const zeroAt = performance.now() - 1000 * video.currentTime;
    seen.frames.push({ at: shownAt, zeroAt, number, latencyMs: (1000 * behind) / clockHz });
    const white = corner.getImageData(1, 1, 2, 2).data[1] > 140;
    // Should the first white frame have been dropped, its number tells by how much the flash is seen late.
    const lateMs = (1000 * (number % rate)) / rate;
    if (white && !flashing) seen.flashes.push({ at: shownAt - lateMs, mediaMs: 1000 * meta.mediaTime - lateMs });
    flashing = white;
    if (!seen.stopped) video.requestVideoFrameCallback(onFrame);
  };

  const audio = new AudioContext({ latencyHint: "interactive" });
  const code = `registerProcessor("beeps", class extends AudioWorkletProcessor {
    constructor() { super(); this.quiet = 0; }
    process([input]) {
      const samples = input[0];
      if (!samples) return true;
      for (let i = 0; i < samples.length; i += 1) {
        const loud = Math.abs(samples[i]) > 0.08;
        if (loud && this.quiet > sampleRate / 4) this.port.postMessage((currentFrame + i) / sampleRate);
        this.quiet = loud ? 0 : this.quiet + 1;
      }
      return true;
    }
  });`;
  await audio.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const listener = new AudioWorkletNode(audio, "beeps", { numberOfOutputs: 1 });
  audio.createMediaElementSource(video).connect(listener).connect(audio.destination);
  listener.port.onmessage = ({ data: contextTime }) => {
    const stamp = audio.getOutputTimestamp();
    seen.beeps.push(stamp.performanceTime + 1000 * (contextTime - stamp.contextTime));
  };
  await audio.resume();
  video.muted = false;
  video.volume = 1;
  video.requestVideoFrameCallback(onFrame);
  window.probe = seen;

  function context2d(w, h) {
    const canvas = document.createElement("canvas");
    canvas.width = w;
    canvas.height = h;
    return canvas.getContext("2d", { willReadFrequently: true });
  }
};
