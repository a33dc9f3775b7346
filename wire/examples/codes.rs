//! Writes `web/src/link/codes.ts` from the table in `wire::code`.
//!
//! `cargo run -p moorline-wire --example codes`

use std::fmt::Write;
use std::path::PathBuf;

use moorline_wire::Code;

/// Where the copy for the browser lies.
pub fn codes_ts_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../web/src/link/codes.ts")
}

/// What it is to say, in the form that the web formatter leaves as it is.
pub fn codes_ts() -> String {
    let mut file = HEAD.to_owned();
    for code in Code::ALL {
        let _ = write!(
            file,
            "  {{\n    number: {},\n    name: \"{}\",\n    status: {},\n",
            code.number(),
            code.name(),
            code.http_status()
        );
        for (field, text) in [("sentence", code.sentence()), ("remedy", code.remedy())] {
            let line = format!("    {field}: {text:?},");
            if line.chars().count() <= LINE_WIDTH {
                let _ = writeln!(file, "{line}");
            } else {
                let _ = writeln!(file, "    {field}:\n      {text:?},");
            }
        }
        file.push_str("  },\n");
    }
    file.push_str(TAIL);
    file
}

const LINE_WIDTH: usize = 100;

const HEAD: &str =
    "// Written from wire/src/code.rs by `cargo run -p moorline-wire --example codes`; a test compares.

/** One reason for which anything is refused or ends. */
export interface CodeInfo {
  /** As in close frames. */
  readonly number: number;
  /** As in messages and answers of the API. */
  readonly name: string;
  /** The HTTP status of an answer with this code. */
  readonly status: number;
  /** What happened, for a person. */
  readonly sentence: string;
  /** What the person can do about it; empty where nothing is to be done. */
  readonly remedy: string;
}

/** Every reason, in the order of the table. */
export const CODES: readonly CodeInfo[] = [
";

const TAIL: &str = "];

/** The reason of a close frame. */
export function codeByNumber(number: number): CodeInfo | undefined {
  return CODES.find((code) => code.number === number);
}

/** The reason of a message. */
export function codeByName(name: string): CodeInfo | undefined {
  return CODES.find((code) => code.name === name);
}
";

#[allow(dead_code, reason = "the test that compares has no use for it")]
fn main() -> std::io::Result<()> {
    std::fs::write(codes_ts_path(), codes_ts())
}
