// What a program on the device asks of the browser: a title, a link, the clipboard. All of it is
// text from outside, and each has its limit here.

const TITLE_CHARACTERS_MAX = 256;
const CLIPBOARD_BYTES_MAX = 1_000_000;
const LINK_PROTOCOLS = new Set(["http:", "https:", "mailto:"]);

/** A title without control characters and without marks that turn the direction of text around. */
export function cleanTitle(title: string): string {
  const cleaned = title.replace(/[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "");
  return Array.from(cleaned).slice(0, TITLE_CHARACTERS_MAX).join("");
}

/** The link to open, or null for one of a kind that we do not open (`javascript:`, `file:`...). */
export function safeLink(text: string): string | null {
  try {
    const url = new URL(text);
    return LINK_PROTOCOLS.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/**
 * What OSC 52 wants: `Pc ; base64` writes the clipboard, `Pc ; ?` would read it and is refused
 * (a program must not see what the person copied elsewhere), as is everything malformed or large.
 */
export function clipboardWrite(data: string): string | null {
  const payload = data.slice(data.indexOf(";") + 1);
  if (!data.includes(";") || payload === "?" || payload.length > (CLIPBOARD_BYTES_MAX * 4) / 3)
    return null;
  try {
    const bytes = Uint8Array.from(atob(payload), (c) => c.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}
