// Which addresses a page may ask at all. A page that came by https may not ask a box by plain http (mixed content), but for
// one exception: a browser with local network access lets it ask boxes at home, if its user agrees.

/** Whether this browser knows local network access: older ones refuse mixed content without asking. */
function hasLocalAccess(): boolean {
  let asked = false;
  const probe = {
    get targetAddressSpace() {
      asked = true;
      return undefined;
    },
  };
  new Request("http://stream.invalid", probe as RequestInit);
  return asked;
}

/** An address that can only be at home: a private one, or a name that is not asked of the internet (RFC 6762). */
export function isAtHome(host: string): boolean {
  return /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|127\.)/.test(host) || /^\[(f[cd]|fe[89ab]|::1\])/i.test(host) || /(^|\.)(local|localhost)$/i.test(host);
}

export function isReachable(url: string): boolean {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    return false;
  }
  if (location.protocol !== "https:" || parsed.protocol === "https:") return parsed.protocol === "http:" || parsed.protocol === "https:";
  return isAtHome(parsed.hostname) && hasLocalAccess();
}
