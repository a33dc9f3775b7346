// What the link needs of its surroundings. The browser's own is the default; tests bring theirs.

/** The part of `WebSocket` that is used. */
export interface SocketLike {
  binaryType: string;
  onopen: ((event: unknown) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: unknown) => void) | null;
  /** As `WebSocket`'s: 1 is open. */
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

/** The part of `Storage` that is used. */
export interface StorageLike {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** Socket, clock, timers, chance, storage and page. */
export interface LinkEnvironment {
  open(url: string, protocol: string): SocketLike;
  now(): number;
  setTimer(call: () => void, ms: number): number;
  clearTimer(timer: number): void;
  random(): number;
  /** `sessionStorage`, or null when there is none. */
  storage: StorageLike | null;
  /** Calls `wake` on `online`, `pageshow` and when the page becomes visible, `visible` on every
   * change of visibility, and `leave` when the page is about to go. Returns how to stop. */
  watchPage(wake: () => void, visible: (visible: boolean) => void, leave: () => void): () => void;
  visible(): boolean;
}

/** The browser. */
export function browserEnvironment(): LinkEnvironment {
  return {
    open: (url, protocol) => new WebSocket(url, protocol) as unknown as SocketLike,
    now: () => Date.now(),
    setTimer: (call, ms) => window.setTimeout(call, ms),
    clearTimer: (timer) => window.clearTimeout(timer),
    random: () => Math.random(),
    storage: storageOrNone(),
    watchPage,
    visible: () => document.visibilityState === "visible",
  };
}

function storageOrNone(): StorageLike | null {
  try {
    return window.sessionStorage;
  } catch {
    // A browser may forbid it altogether.
    return null;
  }
}

function watchPage(
  wake: () => void,
  visible: (visible: boolean) => void,
  leave: () => void,
): () => void {
  const shown = () => {
    const now = document.visibilityState === "visible";
    visible(now);
    if (now) wake();
  };
  window.addEventListener("online", wake);
  window.addEventListener("pageshow", wake);
  // The earlier of the two comes before the next page is asked for, and so before this one's
  // connections are cut; a browser that is closed may fire the other alone.
  window.addEventListener("beforeunload", leave);
  window.addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", shown);
  return () => {
    window.removeEventListener("online", wake);
    window.removeEventListener("pageshow", wake);
    window.removeEventListener("beforeunload", leave);
    window.removeEventListener("pagehide", leave);
    document.removeEventListener("visibilitychange", shown);
  };
}

/** What a page remembers over a reload, and no other tab sees. */
export class Memory {
  constructor(
    private readonly storage: StorageLike | null,
    private readonly session: string,
  ) {}

  get resume(): string | null {
    return this.get("resume");
  }

  set resume(token: string | null) {
    this.set("resume", token);
  }

  /** The viewer key of this tab; a new one when there is none. */
  get viewer(): string {
    const known = this.get("viewer");
    return known && /^[A-Za-z0-9_-]{1,64}$/.test(known) ? known : this.newViewer();
  }

  newViewer(): string {
    const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
    const key = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.set("viewer", key);
    return key;
  }

  forget(): void {
    this.set("resume", null);
    this.set("viewer", null);
  }

  private get(name: string): string | null {
    try {
      return this.storage?.getItem(`moorline.${name}.${this.session}`) ?? null;
    } catch {
      return null;
    }
  }

  private set(name: string, value: string | null): void {
    const key = `moorline.${name}.${this.session}`;
    try {
      if (value === null) this.storage?.removeItem(key);
      else this.storage?.setItem(key, value);
    } catch {
      // Without it a reload asks for a new ticket; nothing is lost but the input in flight.
    }
  }
}
