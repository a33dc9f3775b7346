import { DevicesPage } from "./pages/devices";
import { HomePage } from "./pages/home";
import { NowherePage } from "./pages/nowhere";
import { TerminalPage } from "./pages/terminal";
import { route, visit } from "./state/router";

/** Which page the address shows. A visit is a page of its own: going to the same address opens it anew. */
export function App() {
  const at = route.value;
  switch (at.page) {
    case "home":
      return <HomePage key={visit.value} />;
    case "devices":
      return <DevicesPage key={visit.value} />;
    case "open":
      return <TerminalPage key={visit.value} target={{ device: at.device }} />;
    case "session":
      return <TerminalPage key={visit.value} target={{ session: at.session }} />;
    case "nowhere":
      return <NowherePage />;
  }
}
