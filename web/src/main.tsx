// The browser side of Moorline. From here: `app.tsx` (which page), `pages/` (what is seen),
// `state/` (what is known), `terminal/` (xterm.js and its shields), `link/` (the protocol).

import "./styles/base.css";
import "./styles/list.css";
import "./styles/admin.css";
import "./styles/devices.css";
import "./styles/terminal.css";

import { render } from "preact";

import { App } from "./app";
import { startAccount } from "./state/account";
import { startClock } from "./state/now";
import { startPreferences } from "./state/preferences";
import { startRouter } from "./state/router";

startPreferences();
startRouter();
startAccount();
startClock();
const root = document.getElementById("app");
if (root) render(<App />, root);
