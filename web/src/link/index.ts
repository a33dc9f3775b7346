// The link of one browser terminal: no DOM, no terminal, no fetch. `openTerminalLink` is the way in.

export { CODES, type CodeInfo, codeByName, codeByNumber } from "./codes";
export { type LinkEvents, LinkFailure, type LinkOptions, type TerminalLink } from "./face";
export type {
  Attached,
  Ending,
  Exit,
  Gap,
  HostControl,
  LegState,
  Role,
  Size,
  Step,
} from "./protocol";
export { openTerminalLink } from "./socket";
export type { Failure, InputState, LinkStatus, Phase, StepDone } from "./status";
