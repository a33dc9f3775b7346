// The shells and the people in front of them.

import { dashboard } from "./dashboard.js";
import { areas, heat, lines, now, quantile, quantiles, ranking, rate, stat, within } from "./panel.js";

export const sessions = dashboard(
  "moorline-sessions",
  "Sessions",
  "Who works on which devices, how sessions begin and end, and what a person feels of breaks.",
  [
    {
      title: "Now",
      lines: [
        {
          height: 4,
          panels: [
            stat(
              {
                title: "Live sessions",
                description: "Sessions in front of which somebody sits.",
                unit: "short",
              },
              now("moorline_sessions", [], 'state="live"'),
            ),
            stat(
              {
                title: "Detached sessions",
                description: "Shells that run on while nobody is attached, for at most timing.detached_for.",
                unit: "short",
              },
              now("moorline_sessions", [], 'state="detached"'),
            ),
            stat(
              {
                title: "Interrupted sessions",
                description: "Sessions whose way to the shell is broken at this moment: the device is away, or the shell is being taken up again. The shells themselves run on.",
                unit: "short",
                warn: 1,
                alarm: 20,
              },
              now("moorline_sessions", [], 'state=~"adrift|device_away"'),
            ),
            stat(
              {
                title: "Browsers attached",
                description: "Browser terminals, those who type and those who watch.",
                unit: "short",
              },
              now("moorline_viewers"),
            ),
            stat(
              {
                title: "Failed set-ups",
                description: "Sessions, and attempts to take a shell up again, that failed before there was a shell, within the interval. 'Set-ups that failed, by step and code' says at which step and why.",
                unit: "short",
                warn: 1,
                alarm: 10,
              },
              within("moorline_session_setup_failures_total"),
            ),
            stat(
              {
                title: "Killed",
                description: "Sessions that a person ended, within the interval. Who and why stands in each session's ending.",
                unit: "short",
              },
              within("moorline_killed_total"),
            ),
          ],
        },
      ],
    },
    {
      title: "From beginning to end",
      lines: [
        {
          height: 8,
          panels: [
            areas(
              {
                title: "Sessions by state",
                description: "Connecting, live, detached (nobody attached), device away (its link is broken), adrift (kept on the device, not reachable now). Many adrift after a restart of the broker come back within seconds; those that stay wait for their devices.",
                unit: "short",
              },
              [{ expr: now("moorline_sessions", ["state"]), legend: "{{state}}" }],
            ),
            lines(
              {
                title: "Sessions started and ended",
                description: "How many sessions were asked for, and how many are over, within the interval. In the long run both are the same.",
                unit: "short",
              },
              [
                { expr: within("moorline_sessions_started_total"), legend: "started" },
                { expr: within("moorline_sessions_ended_total"), legend: "ended" },
              ],
            ),
          ],
        },
        {
          height: 9,
          panels: [
            areas(
              {
                title: "Sessions ended, by ending",
                description: "exited and killed are people's doing, idle_limit and max_duration are the limits you set. Everything else is a session that somebody lost: device_lost (it did not come back), device_refused, setup_timeout, shell_refused, sshd_unreachable, ssh_failed, host_key_changed, gave_up, internal.",
                unit: "short",
              },
              [{ expr: within("moorline_sessions_ended_total", ["ending"]), legend: "{{ending}}" }],
            ),
            ranking(
              {
                title: "Top endings",
                description: "The endings that were seen most within the interval. The names are those of the API's codes; the session's detail in the console has the sentence.",
                unit: "short",
              },
              { expr: `topk(10, ${within("moorline_sessions_ended_total", ["ending"])} > 0)`, legend: "{{ending}}" },
            ),
            lines(
              {
                title: "Kills, by what was named",
                description: "Sessions that an administrator ended: one session by its id, all of a user, or all of a device.",
                unit: "short",
              },
              [{ expr: within("moorline_killed_total", ["by"]), legend: "by {{by}}" }],
            ),
          ],
        },
      ],
    },
    {
      title: "Set-up",
      lines: [
        {
          height: 8,
          panels: [
            lines(
              {
                title: "Set-up time by step (95 %)",
                description: "What 95 of 100 sessions stay below in each step: broker (store and stream), device (its link), host_key (SSH key exchange), login, shell (keeper and first answer). The step that rises is the part that is slow.",
                unit: "s",
                warn: 1,
                alarm: 5,
              },
              [{ expr: quantile(0.95, "moorline_session_setup_seconds", ["step"]), legend: "{{step}}" }],
            ),
            heat(
              {
                title: "Set-up steps, how they are spread",
                description: "How long the steps of all set-ups took, by number of steps. A shell on a near device is there within 0.2 s in all.",
                unit: "s",
              },
              "moorline_session_setup_seconds",
            ),
            lines(
              {
                title: "Set-ups that failed, by step and code",
                description: "The step in which a session's set-up ended, and the code it ended with. host_key: another host key than the pinned one; login: the device refuses the certificate; shell: no shell came; device: the sshd is not reached.",
                unit: "short",
                warn: 1,
              },
              [{ expr: within("moorline_session_setup_failures_total", ["step", "code"]), legend: "{{step}}: {{code}}" }],
            ),
          ],
        },
      ],
    },
    {
      title: "What people feel",
      lines: [
        {
          height: 8,
          panels: [
            heat(
              {
                title: "Gaps",
                description: "How long people could neither see nor type because of a break anywhere on the way, per break. Below a second hardly anybody notices; at 15 s a dead network was found out; above, a part was away.",
                unit: "s",
              },
              "moorline_session_gap_seconds",
            ),
            lines(
              {
                title: "Gaps: typical and worst",
                description: "What half, 95 and 99 of 100 breaks stayed below.",
                unit: "s",
                warn: 2,
                alarm: 17,
              },
              quantiles("moorline_session_gap_seconds"),
            ),
            lines(
              {
                title: "Resumes, by leg",
                description: "Attaches that went on where they were. browser: a tab or its network came back. device: a link was resumed, SSH noticed nothing. keeper: the shell was taken up again by a new SSH login, after the broker, its actor or the agent had died.",
                unit: "short",
              },
              [{ expr: within("moorline_session_resumes_total", ["leg"]), legend: "{{leg}}" }],
            ),
          ],
        },
        {
          height: 8,
          panels: [
            lines(
              {
                title: "Browsers that left, by cause",
                description: "closed: the tab was closed or reloaded. cut: its connection broke off. silent: nothing was heard of it for timing.user_dead. cancelled: the same tab came back over another connection before its old one was found dead. stalled: it stopped reading. Other words are codes with which the broker sent it away.",
                unit: "short",
              },
              [{ expr: within("moorline_viewers_left_total", ["cause"]), legend: "{{cause}}" }],
            ),
            heat(
              {
                title: "From output to screen",
                description: "How long a browser takes from output that it was sent to having it on its screen: its network, its page and its terminal in one. A band that rises while the links' round trips stay is the network of the people.",
                unit: "s",
              },
              "moorline_viewer_ack_seconds",
            ),
            lines(
              {
                title: "From output to screen: typical and worst",
                description: "What half, 95 and 99 of 100 stretches of output stay below, from the broker to the person's screen and back.",
                unit: "s",
                warn: 0.25,
                alarm: 1,
              },
              quantiles("moorline_viewer_ack_seconds"),
            ),
          ],
        },
      ],
    },
    {
      title: "Bytes and browsers",
      lines: [
        {
          height: 8,
          panels: [
            lines(
              {
                title: "Bytes of terminals",
                description: "What the devices wrote and what people typed, a second. A flood of output is somebody's build; one of input is a paste.",
                unit: "Bps",
              },
              [{ expr: rate("moorline_session_bytes_total", ["direction"]), legend: "{{direction}}" }],
            ),
            areas(
              {
                title: "Browsers, by role",
                description: "Browsers that are attached now: drivers type and set the size of the terminal, watchers look on.",
                unit: "short",
              },
              [{ expr: now("moorline_viewers", ["role"]), legend: "{{role}}" }],
            ),
          ],
        },
      ],
    },
  ],
);
