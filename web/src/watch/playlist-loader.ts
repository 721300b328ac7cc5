// hls.js's own loader for playlists, with one repair. A low-latency playlist that ends with a whole segment (the
// publisher is gone, nothing is hinted) makes hls.js take that segment for its own successor: with a delta update its
// discontinuity sequence is then counted twice, and the next epoch is refused. Any line after the segment prevents it,
// and a comment changes nothing else (RFC 8216 4.1).

import Hls, { type HlsConfig, type LoaderCallbacks, type LoaderConfiguration, type LoaderContext } from "hls.js/light";

class RepairingLoader extends Hls.DefaultConfig.loader {
  override load(context: LoaderContext, config: LoaderConfiguration, callbacks: LoaderCallbacks<LoaderContext>): void {
    super.load(context, config, {
      ...callbacks,
      onSuccess: (response, ...rest) => {
        if (typeof response.data === "string") response.data += "\n#\n";
        callbacks.onSuccess(response, ...rest);
      },
    });
  }
}

/** The loader takes any context; its declared type names only the most general one. */
export const PlaylistLoader = RepairingLoader as unknown as NonNullable<HlsConfig["pLoader"]>;
