// What all dashboards share: the variables above them, the links between them, and how panels are laid out.

import { DashboardCursorSync, VariableHide, VariableRefresh, VariableSort } from "@grafana/schema";
import type { Dashboard, DashboardLink, Panel, RowPanel, VariableModel } from "@grafana/schema";
import { SOURCE } from "./panel.js";

/** A heading with its panels, in lines of equal height; the panels of a line share its width. */
export interface Section {
  title: string;
  lines: Array<{ height: number; panels: Panel[] }>;
}

/** How wide Grafana's grid is. */
const WIDTH = 24;

/** A dashboard of these sections. */
export function dashboard(uid: string, title: string, description: string, sections: Section[]): Dashboard {
  return {
    uid,
    title: `Moorline / ${title}`,
    description,
    tags: ["moorline"],
    editable: true,
    graphTooltip: DashboardCursorSync.Crosshair,
    links: LINKS,
    panels: laidOut(sections),
    refresh: "30s",
    schemaVersion: 39,
    templating: { list: VARIABLES },
    time: { from: "now-3h", to: "now" },
    timezone: "browser",
  } satisfies Dashboard;
}

const LINKS: DashboardLink[] = [
  {
    title: "Moorline",
    type: "dashboards",
    tags: ["moorline"],
    asDropdown: false,
    icon: "external link",
    includeVars: true,
    keepTime: true,
    targetBlank: false,
    tooltip: "The other dashboards, for the same instances and time",
    url: "",
  },
  {
    title: "Console",
    type: "link",
    tags: [],
    asDropdown: false,
    icon: "external link",
    includeVars: false,
    keepTime: false,
    targetBlank: true,
    tooltip: "Moorline itself: devices, sessions, shells",
    url: "${console}/",
  },
];

const VARIABLES: VariableModel[] = [
  {
    name: "source",
    label: "Prometheus",
    description: "Which Prometheus scrapes the brokers",
    type: "datasource",
    query: "prometheus",
    hide: VariableHide.dontHide,
  },
  {
    name: "instance",
    label: "Broker",
    description: "Which brokers are looked at",
    type: "query",
    datasource: SOURCE,
    query: { query: "label_values(moorline_draining, instance)", refId: "instance" },
    refresh: VariableRefresh.onTimeRangeChanged,
    sort: VariableSort.alphabeticalAsc,
    includeAll: true,
    multi: true,
    current: { text: "All", value: "$__all" },
    hide: VariableHide.dontHide,
  },
  {
    name: "interval",
    label: "Counted over",
    description: "How far back the numbers count that say how often something happened",
    type: "interval",
    query: "5m,15m,1h,6h,1d",
    current: { text: "15m", value: "15m" },
    hide: VariableHide.dontHide,
  },
  {
    name: "console",
    label: "Console",
    description: "The address of Moorline itself, for the link above",
    type: "textbox",
    query: "http://localhost:8080",
    current: { text: "http://localhost:8080", value: "http://localhost:8080" },
    hide: VariableHide.dontHide,
  },
];

function laidOut(sections: Section[]): Array<Panel | RowPanel> {
  const all: Array<Panel | RowPanel> = [];
  let y = 0;
  for (const section of sections) {
    const heading = { type: "row", title: section.title, collapsed: false, panels: [] };
    all.push({ ...heading, id: all.length + 1, gridPos: { x: 0, y, w: WIDTH, h: 1 } });
    y += 1;
    for (const line of section.lines) {
      const w = Math.floor(WIDTH / line.panels.length);
      line.panels.forEach((panel, index) => {
        all.push({ ...panel, id: all.length + 1, gridPos: { x: index * w, y, w, h: line.height } });
      });
      y += line.height;
    }
  }
  return all;
}
