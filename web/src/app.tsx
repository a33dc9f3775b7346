import { Later } from "./components/later";
import { AccountPage } from "./pages/account";
import { AuditPage } from "./pages/audit";
import { DevicesPage } from "./pages/devices";
import { GrantsPage } from "./pages/grants";
import { HomePage } from "./pages/home";
import { InstallKeysPage } from "./pages/install-keys";
import { LoginPage } from "./pages/login";
import { NowherePage } from "./pages/nowhere";
import { PeoplePage } from "./pages/people";
import { SecondFactorPage } from "./pages/second-factor";
import { TerminalPage } from "./pages/terminal";
import { WelcomePage } from "./pages/welcome";
import { me, mustLogIn } from "./state/account";
import { route, toldInAddress, visit } from "./state/router";

const sessionsPage = () => import("./pages/sessions").then((loaded) => loaded.SessionsPage);
const actorsPage = () => import("./pages/actors").then((loaded) => loaded.ActorsPage);

const watches = () => toldInAddress("role") === "watcher";

/** Which page the address shows. A visit is a page of its own: going to the same address opens it anew. */
export function App() {
  const at = route.value;
  if (at.page === "welcome") return <WelcomePage key={visit.value} />;
  if (mustLogIn.value !== null) return <LoginPage why={mustLogIn.value} />;
  if (me.value?.second_factor === "missing") return <SecondFactorPage />;
  switch (at.page) {
    case "home":
      return <HomePage key={visit.value} />;
    case "devices":
      return <DevicesPage key={visit.value} />;
    case "account":
      return <AccountPage key={visit.value} />;
    case "people":
      return <PeoplePage key={visit.value} />;
    case "grants":
      return <GrantsPage key={visit.value} />;
    case "install-keys":
      return <InstallKeysPage key={visit.value} />;
    case "audit":
      return <AuditPage key={visit.value} />;
    case "sessions":
      return <Later key={visit.value} load={sessionsPage} />;
    case "actors":
      return <Later key={visit.value} load={actorsPage} />;
    case "open":
      return <TerminalPage key={visit.value} target={{ device: at.device }} />;
    case "session":
      return <TerminalPage key={visit.value} target={{ session: at.session, watch: watches() }} />;
    case "nowhere":
      return <NowherePage />;
  }
}
