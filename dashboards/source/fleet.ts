// The devices and their links.

import { dashboard } from "./dashboard.js";
import { areas, heat, lines, now, of, quantiles, rate, stat, within } from "./panel.js";

export const fleet = dashboard(
  "moorline-fleet",
  "Fleet",
  "Which devices are there, how good their links are, and who comes back how often.",
  [
    {
      title: "Now",
      lines: [
        {
          height: 4,
          panels: [
            stat(
              {
                title: "Brokers that answer",
                description: "Brokers whose last scrape succeeded. Red: none does, and nobody can reach any device through them.",
                unit: "short",
              },
              `sum(${of("up")})`,
            ),
            stat(
              {
                title: "Devices online",
                description: "Devices whose link works at this moment. It falls when devices, their networks or this broker fail; 'Devices by state' says since when.",
                unit: "short",
              },
              now("moorline_devices", [], 'state="online"'),
            ),
            stat(
              {
                title: "Devices unstable or away",
                description: "Unstable: nothing was heard for timing.link_unstable. Away: the socket is gone and the link waits for its return, for timing.link_resume_within. A few are normal where networks are bad; many at once are one common cause.",
                unit: "short",
                warn: 1,
                alarm: 50,
              },
              now("moorline_devices", [], 'state=~"unstable|away"'),
            ),
            stat(
              {
                title: "Links resumed",
                description: "Links that broke and went on without losing a byte, within the interval above. Shells on these devices noticed a pause.",
                unit: "short",
              },
              within("moorline_links_resumed_total"),
            ),
            stat(
              {
                title: "Links begun anew",
                description: "Greetings that began a new link, within the interval: a device that starts, an agent that was killed, or one that was away for too long to resume. After a restart of the broker every device begins anew.",
                unit: "short",
              },
              within("moorline_links_opened_total"),
            ),
            stat(
              {
                title: "Devices with a changed host key",
                description: "Devices whose sshd shows another host key than the pinned one. Every session on them is refused until an administrator accepts the key. If nobody changed it on purpose, somebody may be in between.",
                unit: "short",
                alarm: 1,
              },
              now("moorline_devices_with_changed_host_key"),
            ),
            stat(
              {
                title: "Devices that wait for approval",
                description: "Devices that came with an install key whose devices wait. They are connected, and get no sessions until somebody approves them. Beyond limits.devices_pending no more of them are taken.",
                unit: "short",
              },
              now("moorline_devices_pending"),
            ),
          ],
        },
      ],
    },
    {
      title: "Devices and links",
      lines: [
        {
          height: 8,
          panels: [
            areas(
              {
                title: "Devices by state",
                description: "Connected devices: online, unstable (silent for some seconds), away (no socket, the link is kept). Whoever is offline is not counted. A step down is a network or a broker; a slope is devices that are switched off.",
                unit: "short",
              },
              [{ expr: now("moorline_devices", ["state"]), legend: "{{state}}" }],
            ),
            lines(
              {
                title: "Links that broke, by cause",
                description: "Closed: the device or something between cut the socket. Silent: nothing came for timing.link_dead: a dead network, or a device that stands still. Replaced: the device came back before the broker had noticed. Drained: this broker was stopped. Protocol and failed are faults: look at the log.",
                unit: "short",
              },
              [{ expr: within("moorline_links_broken_total", ["cause"]), legend: "{{cause}}" }],
            ),
          ],
        },
        {
          height: 8,
          panels: [
            lines(
              {
                title: "Links opened and resumed",
                description: "Greetings a second. Resumed follows a cut; opened follows a start of an agent or of this broker. The same devices again and again are flapping: compare with 'Reconnects per device'.",
                unit: "ops",
              },
              [
                { expr: rate("moorline_links_opened_total"), legend: "opened" },
                { expr: rate("moorline_links_resumed_total"), legend: "resumed" },
              ],
            ),
            lines(
              {
                title: "Reconnects per device",
                description: "How often the average connected device came back within the interval. More than a few is flapping: a bad network, a proxy with a short timeout, or two agents with one identity that evict each other.",
                unit: "short",
                warn: 1,
                alarm: 3,
              },
              [
                {
                  expr: `(${within("moorline_links_resumed_total")} + ${within("moorline_links_opened_total")}) / clamp_min(${now("moorline_devices")}, 1)`,
                  legend: "reconnects per device",
                },
              ],
            ),
            lines(
              {
                title: "Agents that stood still",
                description: "Agents that came back and said that they had stood still for longer than a ping, within the interval: stopped by a signal, starved of the processor, or asleep with their machine. Where links break silently and this does not move, it is the network.",
                unit: "short",
              },
              [{ expr: within("moorline_agents_stood_still_total"), legend: "stood still" }],
            ),
            lines(
              {
                title: "Reconnect storms",
                description: "Devices that are being greeted and that wait for their turn. After a restart of the broker all of them come back within some seconds, and this falls to nothing again; when it stays up, the broker does not keep up with greeting.",
                unit: "short",
                warn: 100,
                alarm: 1000,
              },
              [
                { expr: now("moorline_greetings_waiting"), legend: "waiting for their turn" },
                { expr: now("moorline_greetings_running"), legend: "being greeted" },
              ],
            ),
          ],
        },
      ],
    },
    {
      title: "Round trips",
      lines: [
        {
          height: 9,
          panels: [
            heat(
              {
                title: "Link round trips",
                description: "How long the links' pings took, every 5 s per device. One band is one kind of network; a second band far above it is a part of the fleet behind something slow.",
                unit: "s",
              },
              "moorline_link_rtt_seconds",
            ),
            lines(
              {
                title: "Link round trips: typical and worst",
                description: "What half, 95 and 99 of 100 pings stay below. A keystroke needs one round trip to its device and one to the browser: above 150 ms typing feels slow.",
                unit: "s",
                warn: 0.15,
                alarm: 0.5,
              },
              quantiles("moorline_link_rtt_seconds"),
            ),
          ],
        },
      ],
    },
    {
      title: "Refused",
      lines: [
        {
          height: 8,
          panels: [
            lines(
              {
                title: "Refused greetings and requests, by code",
                description: "Devices and people that were turned away. device_offline is a person who wanted a device that is not there. not_enrolled and bad_signature are devices that this broker does not know; limit and overloaded are the broker's own bounds.",
                unit: "short",
              },
              [{ expr: within("moorline_refusals_total", ["code"]), legend: "{{code}}" }],
            ),
            lines(
              {
                title: "Failed proofs of identity",
                description: "Devices whose signature or install key was not accepted, and browsers with a ticket that is spent or foreign. A few are old tabs and tickets; a steady rate is somebody trying.",
                unit: "short",
                warn: 20,
                alarm: 100,
              },
              [{ expr: within("moorline_auth_failures_total", ["kind"]), legend: "{{kind}}" }],
            ),
            lines(
              {
                title: "Host keys that changed",
                description: "Times that a device showed another host key than the pinned one, within the interval. Each one refuses the session it was seen in. Sessions stay refused until the key is accepted.",
                unit: "short",
                alarm: 1,
              },
              [{ expr: within("moorline_host_key_changes_total"), legend: "changes" }],
            ),
          ],
        },
      ],
    },
  ],
);
