// One kind of panel per function, so that all dashboards look and behave alike. Each takes what only
// its panel can know: title, what it says to whoever looks, unit, queries, and where it turns yellow and red.

import { ThresholdsMode } from "@grafana/schema";
import type { Panel } from "@grafana/schema";

/** One query. `legend` names labels as `{{label}}`. */
export interface Query {
  expr: string;
  legend: string;
}

/** What every panel has to say. */
export interface Words {
  title: string;
  /** What is seen here, what is normal, and what to look at when it is not. */
  description: string;
  /** A unit of Grafana: `short`, `s`, `bytes`, `ops`, `percentunit` ... */
  unit: string;
  /** From which value on it is yellow, and from which red. Without: always green. */
  warn?: number;
  alarm?: number;
}

/** The data source that the person picked. */
export const SOURCE = { type: "prometheus", uid: "$source" };

/** The metric of the instances that the person picked, with these other labels. */
export function of(metric: string, labels = ""): string {
  return `${metric}{instance=~"$instance"${labels === "" ? "" : `,${labels}`}}`;
}

/** How many a second, by these labels. */
export function rate(metric: string, by: string[] = [], labels = ""): string {
  return `${sum(by)}(rate(${of(metric, labels)}[$__rate_interval]))`;
}

/** How many within the interval that the person picked, by these labels. */
export function within(metric: string, by: string[] = [], labels = ""): string {
  return `${sum(by)}(increase(${of(metric, labels)}[$interval]))`;
}

/** How many there are now, by these labels. */
export function now(metric: string, by: string[] = [], labels = ""): string {
  return `${sum(by)}(${of(metric, labels)})`;
}

/** The value of a histogram that this share of its observations stays below. */
export function quantile(share: number, histogram: string, by: string[] = [], labels = ""): string {
  return `histogram_quantile(${share}, ${rate(`${histogram}_bucket`, ["le", ...by], labels)})`;
}

function sum(by: string[]): string {
  return by.length === 0 ? "sum" : `sum by (${by.join(", ")}) `;
}

/** Half, nineteen of twenty, and ninety-nine of a hundred. */
export function quantiles(histogram: string, labels = ""): Query[] {
  return [
    { expr: quantile(0.5, histogram, [], labels), legend: "half are below" },
    { expr: quantile(0.95, histogram, [], labels), legend: "95 % are below" },
    { expr: quantile(0.99, histogram, [], labels), legend: "99 % are below" },
  ];
}

/** One number. It counts nothing where nothing was counted. */
export function stat(words: Words, expr: string): Panel {
  return panel("stat", words, [{ expr, legend: words.title }], {
    options: {
      colorMode: words.warn === undefined && words.alarm === undefined ? "none" : "background",
      graphMode: "area",
      justifyMode: "auto",
      orientation: "auto",
      reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false },
      textMode: "value",
    },
    noValue: "0",
  });
}

/** Lines over time. */
export function lines(words: Words, queries: Query[]): Panel {
  return timeseries(words, queries, "none", 0);
}

/** Areas over time, one on the other: parts of a whole. */
export function areas(words: Words, queries: Query[]): Panel {
  return timeseries(words, queries, "normal", 25);
}

/** How values are spread, over time. The query counts by `le`. */
export function heat(words: Words, histogram: string): Panel {
  const expr = `sum by (le) (increase(${of(`${histogram}_bucket`)}[$__rate_interval]))`;
  return panel("heatmap", words, [{ expr, legend: "{{le}}" }], {
    options: {
      calculate: false,
      cellGap: 1,
      cellValues: { unit: "short" },
      color: { exponent: 0.5, fill: "dark-orange", mode: "scheme", reverse: false, scale: "exponential", scheme: "Oranges", steps: 64 },
      filterValues: { le: 1e-9 },
      legend: { show: true },
      rowsFrame: { layout: "auto" },
      tooltip: { mode: "single", yHistogram: true },
      yAxis: { axisPlacement: "left", unit: words.unit },
    },
    format: "heatmap",
  });
}

/** The largest few, as bars with their names. */
export function ranking(words: Words, query: Query): Panel {
  return panel("bargauge", words, [query], {
    options: {
      displayMode: "basic",
      minVizHeight: 12,
      namePlacement: "left",
      orientation: "horizontal",
      reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false },
      showUnfilled: true,
      valueMode: "color",
    },
    instant: true,
    noValue: "0",
  });
}

function timeseries(words: Words, queries: Query[], stacking: "none" | "normal", fillOpacity: number): Panel {
  return panel("timeseries", words, queries, {
    options: {
      legend: { calcs: ["lastNotNull", "max"], displayMode: "table", placement: "bottom", showLegend: true },
      tooltip: { mode: "multi", sort: "desc" },
    },
    custom: {
      fillOpacity,
      lineWidth: 1,
      showPoints: "never",
      spanNulls: false,
      stacking: { group: "A", mode: stacking },
      thresholdsStyle: { mode: words.warn === undefined && words.alarm === undefined ? "off" : "line" },
    },
  });
}

interface Make {
  options: Record<string, unknown>;
  custom?: Record<string, unknown>;
  noValue?: string;
  format?: string;
  instant?: boolean;
}

function panel(type: string, words: Words, queries: Query[], make: Make): Panel {
  const { title, description, unit, warn, alarm } = words;
  const steps = [
    { color: "green", value: null },
    ...(warn === undefined ? [] : [{ color: "yellow", value: warn }]),
    ...(alarm === undefined ? [] : [{ color: "red", value: alarm }]),
  ];
  return {
    type,
    title,
    description,
    datasource: SOURCE,
    targets: queries.map(({ expr, legend }, index) => ({
      datasource: SOURCE,
      editorMode: "code",
      expr,
      format: make.format ?? "time_series",
      instant: make.instant ?? false,
      legendFormat: legend,
      range: !(make.instant ?? false),
      refId: String.fromCharCode(65 + index),
    })),
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        noValue: make.noValue,
        thresholds: { mode: ThresholdsMode.Absolute, steps },
        custom: make.custom ?? {},
      },
      overrides: [],
    },
    options: make.options,
  } satisfies Panel;
}
