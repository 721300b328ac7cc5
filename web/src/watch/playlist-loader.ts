// hls.js's own loader for playlists, with one repair. A low-latency playlist that ends with a whole segment (the
// publisher is gone, nothing is hinted) makes hls.js take that segment for its own successor: with a delta update its
// discontinuity sequence is then counted twice, and the next epoch is refused. Any line after the segment prevents it,
// and a comment changes nothing else (RFC 8216 4.1).

import Hls, { type LoaderCallbacks, type LoaderConfiguration, type PlaylistLoaderContext } from "hls.js/light";

const Standard = Hls.DefaultConfig.loader;

export class PlaylistLoader extends Standard {
  override load(context: PlaylistLoaderContext, config: LoaderConfiguration, callbacks: LoaderCallbacks<PlaylistLoaderContext>): void {
    const repaired: LoaderCallbacks<PlaylistLoaderContext> = {
      ...callbacks,
      onSuccess: (response, ...rest) => {
        if (typeof response.data === "string") response.data += "\n#\n";
        callbacks.onSuccess(response, ...rest);
      },
    };
    // The loader is made for any context; its types name only the most general one.
    super.load(context, config, repaired as Parameters<typeof Standard.prototype.load>[2]);
  }
}
