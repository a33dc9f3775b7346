import { useEffect, useMemo, useState } from "preact/hooks";

import type { SessionInfo } from "../api";
import { Bar } from "../components/bar";
import { EndedTable } from "../components/ended-table";
import { KillDialog } from "../components/kill-dialog";
import { Link } from "../components/link";
import { Nothing } from "../components/nothing";
import { Places } from "../components/places";
import { Refused } from "../components/refused";
import { SearchField } from "../components/search-field";
import { SessionTable } from "../components/session-table";
import { now } from "../state/now";
import { addressOf, tellInAddress, toldInAddress } from "../state/router";
import { type SessionState, STATE_CHIPS } from "../state/session-words";
import { SessionsView } from "../state/sessions-view";
import { staleWords } from "../state/trouble";
import "../styles/sessions.css";

/** So many rows are drawn before somebody asks for more. */
const ROWS = 200;

/** The sessions that go on, and those that are over. */
export function SessionsPage() {
  const view = useMemo(viewOfAddress, []);
  const [ending, askToEnd] = useState<SessionInfo | null>(null);
  useEffect(() => view.watching.start(), [view]);
  useEffect(() => {
    document.title = "Sessions · Moorline";
  }, []);
  const { shown, search } = view;
  const { heardAt, trouble } = view.watching;
  useEffect(() => {
    tellInAddress({ show: shown.value === "ended" ? "ended" : "", q: search.value });
  }, [shown.value, search.value]);

  const known = heardAt.value !== null;
  return (
    <>
      <Bar>
        <Places />
      </Bar>
      <main class="page">
        <h1>Sessions</h1>
        <p class="said" role="status">
          {known ? staleWords(trouble.value, heardAt.value) : ""}
        </p>
        <p class="outcome-said" role="status">
          {view.outcome.value}
        </p>
        <SessionFilters view={view} />
        {!known && trouble.value && (
          <Refused trouble={trouble.value} retry={() => view.watching.now()} />
        )}
        {!known && !trouble.value && <p class="quiet">Asking the broker…</p>}
        {known && shown.value === "running" && <Running view={view} end={askToEnd} />}
        {known && shown.value === "ended" && <Ended view={view} />}
      </main>
      {ending && (
        <KillDialog
          session={ending}
          end={(reason) => view.end(ending, reason)}
          close={() => askToEnd(null)}
        />
      )}
    </>
  );
}

function viewOfAddress(): SessionsView {
  const view = new SessionsView();
  view.shown.value = toldInAddress("show") === "ended" ? "ended" : "running";
  view.search.value = toldInAddress("q");
  return view;
}

const RUNNING_STATES: readonly SessionState[] = [
  "connecting",
  "live",
  "detached",
  "device_away",
  "adrift",
];

function SessionFilters({ view }: { view: SessionsView }) {
  const running = view.live.value?.length;
  return (
    <div class="filters">
      <fieldset class="choice">
        <legend class="unseen">Which sessions</legend>
        <button
          type="button"
          aria-pressed={view.shown.value === "running"}
          onClick={() => view.show("running")}
        >
          Running{running === undefined ? "" : ` (${running})`}
        </button>
        <button
          type="button"
          aria-pressed={view.shown.value === "ended"}
          onClick={() => view.show("ended")}
        >
          Ended
        </button>
      </fieldset>
      <SearchField
        words="Search"
        hint={view.shown.value === "ended" ? "person, device, reason…" : "person, device, command…"}
        value={view.search.value}
        find={(search) => view.find(search)}
      />
      {view.shown.value === "running" && (
        <label>
          <span class="field-words">State</span>
          <select
            value={view.state.value}
            onChange={(event) => {
              view.state.value = event.currentTarget.value as SessionState | "";
            }}
          >
            <option value="">Any</option>
            {RUNNING_STATES.map((state) => (
              <option key={state} value={state}>
                {STATE_CHIPS[state].word}
              </option>
            ))}
          </select>
        </label>
      )}
    </div>
  );
}

function Running({ view, end }: { view: SessionsView; end: (session: SessionInfo) => void }) {
  const [rows, setRows] = useState(ROWS);
  const found = view.running.value;
  if (view.live.value?.length === 0) {
    return (
      <Nothing title="No session is running" action={<ToDevices />}>
        Open a shell on one of your devices: it shows up here by itself.
      </Nothing>
    );
  }
  if (found.length === 0) return <NoMatch view={view} />;
  return (
    <>
      <SessionTable sessions={found.slice(0, rows)} now={now.value} end={end} />
      {found.length > rows && (
        <p class="more">
          <button type="button" onClick={() => setRows(rows + ROWS)}>
            Show more
          </button>{" "}
          <span class="quiet">
            {rows} of {found.length} are shown; a search finds the others as well.
          </span>
        </p>
      )}
    </>
  );
}

function Ended({ view }: { view: SessionsView }) {
  const list = view.ended.value;
  if (list === null) {
    return <p class="quiet">{view.search.value === "" ? "Asking the broker…" : "Searching…"}</p>;
  }
  if (list.sessions.length === 0 && list.next === null) {
    if (view.search.value !== "") return <NoMatch view={view} />;
    return (
      <Nothing title="No session has ended yet" action={<ToDevices />}>
        Each session is listed here when it is over, with how and by whom it was ended.
      </Nothing>
    );
  }
  return (
    <>
      <EndedTable sessions={list.sessions} now={now.value} />
      {list.next !== null && (
        <p class="more">
          <button type="button" onClick={() => void view.readOlder()}>
            {view.reading.value ? "Asking the broker…" : "Show older ones"}
          </button>
        </p>
      )}
    </>
  );
}

function NoMatch({ view }: { view: SessionsView }) {
  function clear(): void {
    view.state.value = "";
    view.find("");
  }
  return (
    <Nothing
      title="No session matches"
      action={
        <button type="button" class="primary" onClick={clear}>
          Clear the search
        </button>
      }
    >
      Every word of the search has to stand in a session's id, device, person, login or command
      {view.shown.value === "ended" && ", or in how it ended"}.
    </Nothing>
  );
}

function ToDevices() {
  return (
    <Link to={addressOf.devices()} class="button primary">
      All devices
    </Link>
  );
}
