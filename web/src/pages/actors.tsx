import { useEffect, useMemo } from "preact/hooks";

import { ActorTotalsList } from "../components/actor-totals";
import { ActorTree } from "../components/actor-tree";
import { Bar } from "../components/bar";
import { Nothing } from "../components/nothing";
import { Places } from "../components/places";
import { Refused } from "../components/refused";
import { SearchField } from "../components/search-field";
import { ActorView } from "../state/actor-view";
import type { ActorRow } from "../state/actors";
import { now } from "../state/now";
import { addressOf, go, tellInAddress, toldInAddress } from "../state/router";
import { staleWords } from "../state/trouble";
import "../styles/actors.css";

/** Who works in the broker, and how they are. */
export function ActorsPage() {
  const view = useMemo(viewOfAddress, []);
  useEffect(() => view.watching.start(), [view]);
  useEffect(() => {
    document.title = "Actors · Moorline";
  }, []);
  const { kind, unhealthy, search } = view;
  const { heardAt, trouble } = view.watching;
  useEffect(() => {
    const only = unhealthy.value ? "unhealthy" : "";
    tellInAddress({ kind: kind.value ?? "", only, q: search.value });
  }, [kind.value, unhealthy.value, search.value]);

  return (
    <>
      <Bar>
        <Places />
      </Bar>
      <main class="page whole">
        <h1>Actors</h1>
        {heardAt.value === null ? (
          <Unknown view={view} />
        ) : (
          <>
            <p class="said" role="status">
              {staleWords(trouble.value, heardAt.value) || lostWords(view)}
            </p>
            <Known view={view} />
          </>
        )}
      </main>
    </>
  );
}

function viewOfAddress(): ActorView {
  const view = new ActorView();
  view.kind.value = toldInAddress("kind") || null;
  view.unhealthy.value = toldInAddress("only") === "unhealthy";
  view.search.value = toldInAddress("q");
  return view;
}

/** The list still comes, but what happens between two of them is not heard. */
function lostWords(view: ActorView): string {
  if (view.watching.feed.state.value !== "lost") return "";
  return "The stream of events is lost; trying again. The list is brought up to date without it.";
}

function Unknown({ view }: { view: ActorView }) {
  const trouble = view.watching.trouble.value;
  if (trouble !== null) return <Refused trouble={trouble} retry={() => view.watching.now()} />;
  return <p class="quiet">Asking the broker…</p>;
}

function Known({ view }: { view: ActorView }) {
  const rows = view.rows.value;
  const totals = view.totals.value;
  const unhealthy = totals.reduce((sum, total) => sum + total.unhealthy, 0);
  return (
    <>
      <ActorTotalsList
        totals={totals}
        chosen={view.kind.value}
        choose={(kind) => {
          view.kind.value = kind;
        }}
      />
      <div class="filters">
        <SearchField
          words="Search"
          hint="id, kind, state…"
          value={view.search.value}
          find={(search) => {
            view.search.value = search;
          }}
        />
        <label class="check">
          <input
            type="checkbox"
            checked={view.unhealthy.value}
            onChange={(event) => {
              view.unhealthy.value = event.currentTarget.checked;
            }}
          />
          {`Only the unhealthy (${unhealthy.toLocaleString()})`}
        </label>
      </div>
      {rows.length > 0 ? (
        <ActorTree
          rows={rows}
          now={now.value}
          fold={(key, open) => view.fold(key, open)}
          follow={follow}
        />
      ) : (
        <NoMatch view={view} unhealthy={unhealthy} />
      )}
    </>
  );
}

function NoMatch({ view, unhealthy }: { view: ActorView; unhealthy: number }) {
  const well = view.unhealthy.value && unhealthy === 0;
  return (
    <Nothing
      title={well ? "Every actor is well" : "No actor matches"}
      action={
        <button type="button" class="primary" onClick={() => view.clear()}>
          Show all actors
        </button>
      }
    >
      {well
        ? "None has failed lately, and no mailbox is nearly full. One that does shows up here by itself."
        : "Every word of the search has to stand in an actor's id, kind or state."}
    </Nothing>
  );
}

/** A session has a page to end it on. */
function follow({ actor }: ActorRow): void {
  if (actor?.kind === "ssh_session") go(addressOf.sessions(actor.id));
}
