// The broker itself: the process, its actors and threads, and what it stands on.

import { dashboard } from "./dashboard.js";
import { areas, lines, now, of, quantile, quantiles, ranking, rate, stat, within } from "./panel.js";

export const broker = dashboard(
  "moorline-broker",
  "Broker",
  "Whether the broker itself is well: actors, mailboxes, threads, store, HTTP, memory and descriptors.",
  [
    {
      title: "Now",
      lines: [
        {
          height: 4,
          panels: [
            stat(
              {
                title: "Running for",
                description: "How long the youngest of these brokers has been running. Short after a restart that you did not order: look at 'Crashed before'.",
                unit: "s",
              },
              `min(time() - ${of("process_start_time_seconds")})`,
            ),
            stat(
              {
                title: "Starts",
                description: "How often a broker was started within the interval, seen by its start time. Sessions survive each, people see a pause.",
                unit: "short",
                warn: 1,
                alarm: 3,
              },
              `sum(changes(${of("process_start_time_seconds")}[$interval]))`,
            ),
            stat(
              {
                title: "Crashed before",
                description: "Brokers whose former process did not end by itself: it was killed, it crashed, or its machine lost power. After a stop in good order this is 0.",
                unit: "short",
                alarm: 1,
              },
              now("moorline_former_run_crashed"),
            ),
            stat(
              {
                title: "Stopping",
                description: "Brokers that are being stopped: they take nothing new and send everybody away to come back.",
                unit: "short",
                warn: 1,
              },
              now("moorline_draining"),
            ),
            stat(
              {
                title: "Unhealthy actors",
                description: "Actors that failed a moment ago, or whose mailbox is nearly full. GET /api/v1/actors names them.",
                unit: "short",
                warn: 1,
                alarm: 10,
              },
              now("moorline_actors_unhealthy"),
            ),
            stat(
              {
                title: "Store takes writes",
                description: "Brokers whose store took the last write. Where it does not, nobody gets a new session; live ones go on.",
                unit: "short",
              },
              now("moorline_store_writable"),
            ),
            stat(
              {
                title: "Versions",
                description: "How many different versions run. More than one is an upgrade that is under way, or one that was forgotten.",
                unit: "short",
                warn: 2,
              },
              `count(count by (version) (${of("moorline_build_info")}))`,
            ),
          ],
        },
      ],
    },
    {
      title: "Actors",
      lines: [
        {
          height: 8,
          panels: [
            areas(
              {
                title: "Actors that live",
                description: "Supervised actors that live: a connection per device, a session per shell, a connection per browser. A line that only rises is a leak.",
                unit: "short",
              },
              [{ expr: now("moorline_actors", ["kind"]), legend: "{{kind}}" }],
            ),
            lines(
              {
                title: "Restarts of actors",
                description: "Actors that failed and were started anew, by kind and cause. A panic is a fault of Moorline: the log has its place. People on that session saw a pause.",
                unit: "short",
                alarm: 1,
              },
              [
                { expr: within("moorline_actor_restarts_total", ["kind", "cause"]), legend: "{{kind}} {{cause}}" },
                { expr: within("moorline_actors_gave_up_total", ["kind"]), legend: "{{kind}} given up" },
              ],
            ),
            lines(
              {
                title: "Unhealthy actors by kind",
                description: "Actors that failed within timing.restart_window, or whose mailbox is three quarters full.",
                unit: "short",
                warn: 1,
              },
              [{ expr: now("moorline_actors_unhealthy", ["kind"]), legend: "{{kind}}" }],
            ),
          ],
        },
        {
          height: 8,
          panels: [
            lines(
              {
                title: "Mailboxes: how full the fullest is",
                description: "The fullest mailbox of each kind; at 1 senders are turned away. What is above 0.75 does not keep up with its work, or its thread is stuck.",
                unit: "percentunit",
                warn: 0.5,
                alarm: 0.75,
              },
              [{ expr: `max by (kind) (${of("moorline_actor_mailbox_fullest_ratio")})`, legend: "{{kind}}" }],
            ),
            lines(
              {
                title: "Mailboxes: messages that wait",
                description: "Messages that wait for all actors of a kind, and the most that ever waited for one of those that live.",
                unit: "short",
              },
              [
                { expr: now("moorline_actor_mailbox_depth", ["kind"]), legend: "{{kind}}" },
                { expr: `max by (kind) (${of("moorline_actor_mailbox_high")})`, legend: "{{kind}}: most for one" },
              ],
            ),
            lines(
              {
                title: "Waits that reached their limit",
                description: "Which wait was given up, within the interval. detached, session_idle and session_max are limits that you set. store, ssh_handshake, ssh_auth, ssh_channel, greeting and viewer_stalled are a part that does not answer.",
                unit: "short",
                warn: 1,
              },
              [{ expr: within("moorline_timeouts_total", ["what"]), legend: "{{what}}" }],
            ),
          ],
        },
      ],
    },
    {
      title: "Threads",
      lines: [
        {
          height: 8,
          panels: [
            lines(
              {
                title: "Threads at work",
                description: "Which share of its time each thread was busy. One at 1 is full, and everything on it waits.",
                unit: "percentunit",
                warn: 0.7,
                alarm: 0.9,
              },
              [{ expr: rate("moorline_runtime_busy_seconds_total", ["arbiter"]), legend: "{{arbiter}}" }],
            ),
            lines(
              {
                title: "Answers of the threads",
                description: "How long a thread of actors took to answer the watchdog, which asks once a second. After timing.arbiter_stuck without an answer the process ends itself, to be started anew.",
                unit: "s",
                warn: 0.1,
                alarm: 1,
              },
              [
                ...quantiles("moorline_arbiter_delay_seconds"),
                { expr: now("moorline_arbiters_silent"), legend: "threads that have not answered" },
              ],
            ),
            lines(
              {
                title: "Tasks",
                description: "Tasks of each thread besides the actors, and those that wait for it. Both return to where they were when people leave.",
                unit: "short",
              },
              [
                { expr: now("moorline_runtime_tasks", ["arbiter"]), legend: "{{arbiter}}" },
                { expr: now("moorline_runtime_queue_depth", ["arbiter"]), legend: "{{arbiter}}: waiting" },
                { expr: now("moorline_tasks"), legend: "all" },
                { expr: now("moorline_runtime_workers"), legend: "threads" },
              ],
            ),
            lines(
              {
                title: "Threads that went to sleep",
                description: "How often a thread had nothing to do, a second. None for a busy thread, many for one that is woken for every keystroke.",
                unit: "ops",
              },
              [{ expr: rate("moorline_runtime_parks_total", ["arbiter"]), legend: "{{arbiter}}" }],
            ),
          ],
        },
      ],
    },
    {
      title: "Store",
      lines: [
        {
          height: 8,
          panels: [
            lines(
              {
                title: "Store: how long operations take (95 %)",
                description: "What 95 of 100 calls stay below, by operation. Milliseconds on a healthy disk; a write waits for the disk to have it.",
                unit: "s",
                warn: 0.1,
                alarm: 1,
              },
              [{ expr: quantile(0.95, "moorline_store_seconds", ["op"]), legend: "{{op}}" }],
            ),
            lines(
              {
                title: "Store: operations",
                description: "Calls to the store, a second, by operation.",
                unit: "ops",
              },
              [{ expr: rate("moorline_store_seconds_count", ["op"]), legend: "{{op}}" }],
            ),
            lines(
              {
                title: "Store: failures",
                description: "Calls that failed. disk_full: free space in data_dir. store_failed: it is locked by another process, too slow, or broken; the log has the cause.",
                unit: "short",
                alarm: 1,
              },
              [
                { expr: within("moorline_store_failures_total", ["code"]), legend: "{{code}}" },
                { expr: now("moorline_store_full"), legend: "full now" },
              ],
            ),
          ],
        },
      ],
    },
    {
      title: "HTTP",
      lines: [
        {
          height: 8,
          panels: [
            lines(
              {
                title: "Requests, by route",
                description: "Requests a second, by the route's pattern. A terminal and a link are one request each, for as long as they last.",
                unit: "reqps",
              },
              [{ expr: rate("moorline_http_request_seconds_count", ["route"]), legend: "{{route}}" }],
            ),
            lines(
              {
                title: "Requests: how long they take (95 %)",
                description: "What 95 of 100 requests stay below, by route.",
                unit: "s",
                warn: 0.25,
                alarm: 2.5,
              },
              [{ expr: quantile(0.95, "moorline_http_request_seconds", ["route"]), legend: "{{route}}" }],
            ),
            lines(
              {
                title: "Listeners to events",
                description: "Pages that listen to what changes (GET /api/v1/events). At limits.event_streams further ones are turned away.",
                unit: "short",
              },
              [{ expr: now("moorline_event_streams"), legend: "listeners" }],
            ),
            lines(
              {
                title: "TLS certificate: time left",
                description: "How long the certificate is still valid that new connections are shown. 0 for a broker without TLS of its own; below 0 it has expired. A renewed file is taken without a restart.",
                unit: "s",
              },
              [
                {
                  expr: `(${of("moorline_tls_certificate_expires_timestamp_seconds")} - time()) * (${of("moorline_tls_certificate_expires_timestamp_seconds")} > bool 0)`,
                  legend: "{{instance}}",
                },
              ],
            ),
            lines(
              {
                title: "TLS certificate: files that could not be used",
                description: "How often the files of the certificate had changed and were broken, or did not belong together. The certificate before is kept; the log has the cause.",
                unit: "short",
                warn: 1,
              },
              [{ expr: within("moorline_tls_reload_failures_total", ["instance"]), legend: "{{instance}}" }],
            ),
            lines(
              {
                title: "Answers that refuse or fail",
                description: "Answers with a status of 400 or more, within the interval. 4xx is what the other side did; 5xx is the broker, its store, or a device.",
                unit: "short",
                warn: 10,
              },
              [{ expr: within("moorline_http_request_seconds_count", ["status"], 'status=~"[45].."'), legend: "{{status}}" }],
            ),
          ],
        },
      ],
    },
    {
      title: "Process",
      lines: [
        {
          height: 8,
          panels: [
            lines(
              {
                title: "Memory",
                description: "Memory of the process: what is in RAM. It grows with devices and sessions and falls when they go.",
                unit: "bytes",
              },
              [
                { expr: `sum by (instance) (${of("process_resident_memory_bytes")})`, legend: "{{instance}}: resident" },
              ],
            ),
            lines(
              {
                title: "Descriptors",
                description: "Which share of the files and sockets that the system allows is open. At 1 nobody can connect any more: raise LimitNOFILE.",
                unit: "percentunit",
                warn: 0.7,
                alarm: 0.9,
              },
              [
                {
                  expr: `sum by (instance) (${of("process_open_fds")}) / sum by (instance) (${of("process_max_fds")})`,
                  legend: "{{instance}}",
                },
              ],
            ),
            lines(
              {
                title: "CPU",
                description: "Processor seconds a second: 1 is one core.",
                unit: "short",
              },
              [{ expr: rate("process_cpu_seconds_total", ["instance"]), legend: "{{instance}}" }],
            ),
            ranking(
              {
                title: "Threads of the process",
                description: "Threads of the operating system: those of the actors, and those of the store's connections. The number does not change while a broker runs.",
                unit: "short",
              },
              { expr: `sum by (instance) (${of("process_threads")})`, legend: "{{instance}}" },
            ),
          ],
        },
      ],
    },
  ],
);
