// Written from wire/src/code.rs by `cargo run -p moorline-wire --example codes`; a test compares.

/** One reason for which anything is refused or ends. */
export interface CodeInfo {
  /** As in close frames. */
  readonly number: number;
  /** As in messages and answers of the API. */
  readonly name: string;
  /** The HTTP status of an answer with this code. */
  readonly status: number;
  /** What happened, for a person. */
  readonly sentence: string;
  /** What the person can do about it; empty where nothing is to be done. */
  readonly remedy: string;
}

/** Every reason, in the order of the table. */
export const CODES: readonly CodeInfo[] = [
  {
    number: 4400,
    name: "protocol",
    status: 400,
    sentence: "The other side sent something out of place.",
    remedy: "Try again; if it comes back, report it with the request id.",
  },
  {
    number: 4401,
    name: "login_expired",
    status: 401,
    sentence: "Your login has expired.",
    remedy: "Log in again; the shell is kept.",
  },
  {
    number: 4402,
    name: "ticket_expired",
    status: 401,
    sentence: "The ticket for this terminal has expired or was used before.",
    remedy: "Open the terminal again.",
  },
  {
    number: 4403,
    name: "policy",
    status: 403,
    sentence: "You may not do this.",
    remedy: "Ask an administrator for access.",
  },
  {
    number: 4404,
    name: "unknown",
    status: 404,
    sentence: "There is no such thing here.",
    remedy: "Go back to the list and pick another.",
  },
  {
    number: 4405,
    name: "origin",
    status: 403,
    sentence: "The request came from a page of another site.",
    remedy: "Open Moorline at its own address, or add the address to http.origins.",
  },
  {
    number: 4406,
    name: "version",
    status: 426,
    sentence: "The two sides speak no common version of the protocol.",
    remedy: "Reload the page, or upgrade the older side.",
  },
  {
    number: 4407,
    name: "unknown_device",
    status: 404,
    sentence: "There is no device of that id.",
    remedy: "Pick a device from the list.",
  },
  {
    number: 4408,
    name: "hello_timeout",
    status: 408,
    sentence: "No greeting came in time.",
    remedy: "Try again; if it comes back, look at the network between.",
  },
  {
    number: 4409,
    name: "taken_over",
    status: 409,
    sentence: "This terminal was opened somewhere else.",
    remedy: "Take it back to go on here.",
  },
  {
    number: 4410,
    name: "gone",
    status: 410,
    sentence: "This session is over and nothing of it is left.",
    remedy: "Open a new session.",
  },
  {
    number: 4412,
    name: "device_offline",
    status: 409,
    sentence: "The device is not connected.",
    remedy: "Check its power and network; the agent comes back by itself.",
  },
  {
    number: 4413,
    name: "too_large",
    status: 413,
    sentence: "A message was larger than allowed.",
    remedy: "Send less at once.",
  },
  {
    number: 4414,
    name: "bad_request",
    status: 400,
    sentence: "The request is not well formed.",
    remedy: "See /api/v1/openapi.json for what is expected.",
  },
  {
    number: 4415,
    name: "media_type",
    status: 415,
    sentence: "The body of the request is not JSON.",
    remedy: "Send it with Content-Type: application/json.",
  },
  {
    number: 4416,
    name: "login_refused",
    status: 401,
    sentence: "The name or the password is not right.",
    remedy: "Check both and try again; after some failures there is a wait.",
  },
  {
    number: 4417,
    name: "second_factor",
    status: 401,
    sentence: "This account needs a code as well.",
    remedy: "Type the six digits that your authenticator shows, or one of your recovery codes.",
  },
  {
    number: 4418,
    name: "code_refused",
    status: 401,
    sentence: "The code is not right, or was used before.",
    remedy: "Type the next one that your authenticator shows; after some failures there is a wait.",
  },
  {
    number: 4419,
    name: "second_factor_missing",
    status: 403,
    sentence: "This broker wants a second factor, and you have none yet.",
    remedy: "Set one up on your account page.",
  },
  {
    number: 4420,
    name: "not_linked",
    status: 403,
    sentence: "Nobody here belongs to that account of the login provider.",
    remedy: "Log in with your password and link it on your account page, or ask an administrator.",
  },
  {
    number: 4421,
    name: "host",
    status: 421,
    sentence: "The request names a host that is not this broker.",
    remedy: "Use the broker's own address, or add the name to http.hosts.",
  },
  {
    number: 4422,
    name: "provider_failed",
    status: 502,
    sentence: "The login provider did not answer as it should.",
    remedy: "Try again; if it comes back, ask an administrator to look at the broker's log.",
  },
  {
    number: 4423,
    name: "provider_refused",
    status: 401,
    sentence: "The login provider did not let you in, or what it said cannot be trusted.",
    remedy:
      "Begin again on the login page; if it comes back, ask an administrator to look at the broker's log.",
  },
  {
    number: 4424,
    name: "login_lost",
    status: 400,
    sentence: "That login was not begun in this browser, or took too long.",
    remedy: "Begin again on the login page.",
  },
  {
    number: 4429,
    name: "limit",
    status: 429,
    sentence: "A limit is reached.",
    remedy: "End something that is no longer needed, or try again later.",
  },
  {
    number: 4430,
    name: "exited",
    status: 200,
    sentence: "The shell exited.",
    remedy: "Open a new session.",
  },
  {
    number: 4440,
    name: "killed",
    status: 410,
    sentence: "The session was ended by an administrator.",
    remedy: "Open a new session.",
  },
  {
    number: 4441,
    name: "idle_limit",
    status: 410,
    sentence: "The session was idle for longer than allowed.",
    remedy: "Open a new session.",
  },
  {
    number: 4442,
    name: "max_duration",
    status: 410,
    sentence: "The session has reached its longest duration.",
    remedy: "Open a new session.",
  },
  {
    number: 4450,
    name: "device_lost",
    status: 502,
    sentence: "The device did not come back in time.",
    remedy: "Open a new session when it is online.",
  },
  {
    number: 4451,
    name: "host_key_changed",
    status: 502,
    sentence: "The device shows another host key than the pinned one.",
    remedy:
      "If the key was changed on purpose, let an administrator accept it; if not, somebody may be listening.",
  },
  {
    number: 4452,
    name: "device_refused",
    status: 502,
    sentence: "The device refused the login.",
    remedy: "Check that the login exists on the device and that its sshd trusts this broker's CA.",
  },
  {
    number: 4453,
    name: "setup_timeout",
    status: 504,
    sentence: "The device took too long to answer.",
    remedy: "Try again; if it comes back, look at the sshd on the device.",
  },
  {
    number: 4454,
    name: "shell_refused",
    status: 502,
    sentence: "The device gave no shell.",
    remedy: "Look at the log of the sshd on the device.",
  },
  {
    number: 4455,
    name: "sshd_unreachable",
    status: 502,
    sentence: "The agent could not reach the sshd of its device.",
    remedy: "Check the sshd's address in agent.toml and that it runs.",
  },
  {
    number: 4456,
    name: "ssh_failed",
    status: 502,
    sentence: "The SSH connection to the device broke off.",
    remedy: "Try again; if it comes back, look at the log of the sshd on the device.",
  },
  {
    number: 4457,
    name: "interrupted",
    status: 503,
    sentence: "The way to the shell broke off; the device keeps the shell.",
    remedy: "Wait a moment; this comes back by itself.",
  },
  {
    number: 4470,
    name: "not_enrolled",
    status: 401,
    sentence: "The broker does not know this device.",
    remedy: "Give the agent an install key of this broker (enroll.install_key_file).",
  },
  {
    number: 4471,
    name: "bad_signature",
    status: 401,
    sentence: "The device could not prove who it is.",
    remedy: "Enrol the device again.",
  },
  {
    number: 4472,
    name: "evicted",
    status: 409,
    sentence: "A newer connection of the same device took over.",
    remedy: "If that was not you, two agents share one identity: enrol one of them anew.",
  },
  {
    number: 4473,
    name: "broker_untrusted",
    status: 502,
    sentence: "The broker could not prove that it is the one this device was enrolled with.",
    remedy: "Enrol the device again if the broker was set up anew.",
  },
  {
    number: 4474,
    name: "link_dead",
    status: 504,
    sentence: "Nothing was heard from the other side of the link for too long.",
    remedy: "The agent comes back by itself.",
  },
  {
    number: 4475,
    name: "cancelled",
    status: 499,
    sentence: "It is no longer wanted.",
    remedy: "",
  },
  {
    number: 4476,
    name: "agent_stopped",
    status: 502,
    sentence: "The agent on the device was stopped, and this shell with it.",
    remedy: "Open a new session when the device is online again.",
  },
  {
    number: 4477,
    name: "device_pending",
    status: 409,
    sentence: "The device waits for approval and gets no sessions until then.",
    remedy: "Approve it on the devices page, or ask an administrator to.",
  },
  {
    number: 4478,
    name: "device_revoked",
    status: 403,
    sentence: "This device was revoked.",
    remedy: "If it is to come back, delete the state folder of its agent and enrol it anew.",
  },
  {
    number: 4479,
    name: "install_key_over",
    status: 401,
    sentence: "This install key is used up or has expired.",
    remedy: "Ask an administrator for another install key.",
  },
  {
    number: 4480,
    name: "key_replaced",
    status: 401,
    sentence: "The device has a newer key than this one.",
    remedy:
      "If that was not you, revoke the device; else give its agent the newer identity, or enrol it anew.",
  },
  {
    number: 4500,
    name: "internal",
    status: 500,
    sentence: "Something failed inside Moorline.",
    remedy: "Try again; if it comes back, report it with the request id.",
  },
  {
    number: 4501,
    name: "bad_config",
    status: 500,
    sentence: "A setting cannot be used.",
    remedy: "Correct the setting that the message names.",
  },
  {
    number: 4502,
    name: "port_in_use",
    status: 500,
    sentence: "The address to listen on is taken by another program.",
    remedy: "Stop that program or choose another address with --set listen=ADDRESS:PORT.",
  },
  {
    number: 4503,
    name: "overloaded",
    status: 503,
    sentence: "Moorline has more to do than it can.",
    remedy: "Try again in a moment.",
  },
  {
    number: 4504,
    name: "disk_full",
    status: 507,
    sentence: "The disk of the broker is full.",
    remedy: "Free some space in its data folder.",
  },
  {
    number: 4505,
    name: "store_failed",
    status: 503,
    sentence: "The broker's store does not answer.",
    remedy: "Try again; look at the broker's log.",
  },
  {
    number: 4506,
    name: "going_away",
    status: 503,
    sentence: "The broker is being restarted.",
    remedy: "Wait a moment; this comes back by itself.",
  },
  {
    number: 4507,
    name: "gave_up",
    status: 500,
    sentence: "The session failed again and again and was given up.",
    remedy: "Open a new session; the broker's log has the cause.",
  },
];

/** The reason of a close frame. */
export function codeByNumber(number: number): CodeInfo | undefined {
  return CODES.find((code) => code.number === number);
}

/** The reason of a message. */
export function codeByName(name: string): CodeInfo | undefined {
  return CODES.find((code) => code.name === name);
}
