// The command with which a device is enrolled.

/**
 * With the key on standard input: what stands in a command's arguments can be read by everybody on that machine.
 * Without a key, it is asked for.
 */
export function enrollCommand(at: { origin: string; host: string }, key: string | null): string {
  const broker = at.origin.replace(/^http/, "ws");
  // `ws://` is for the broker's own machine; elsewhere the agent wants to be told that it is meant.
  const open = broker.startsWith("ws:") && !/^(localhost|127\.|\[::1\])/.test(at.host);
  const enroll = `moorline-agent enroll --broker ${broker}${open ? " --insecure" : ""} --key-file -`;
  return key === null ? enroll : `printf %s '${key}' | ${enroll}`;
}
