//! A host and its viewers on a simulated wire that breaks, with time that passes when told.
//!
//! Thousands of histories, each from a seed; `MOORLINE_SEED=n` runs that one alone,
//! `MOORLINE_HISTORIES=n` another number of them. What holds in
//! all of them is listed in `wire/src/term/mod.rs` (I1 to I4).

mod term_world;

use term_world::World;

const HISTORIES: u64 = 2000;

fn histories(steps: usize, history: impl Fn(&mut World)) {
    let seeds = match std::env::var("MOORLINE_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("MOORLINE_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..std::env::var("MOORLINE_HISTORIES").map_or(HISTORIES, |n| n.parse().expect("a number")),
    };
    for seed in seeds {
        let run = || {
            let mut world = World::new(seed);
            for _ in 0..steps {
                history(&mut world);
            }
            world.come_to_rest();
            world.end();
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        assert!(outcome.is_ok(), "it failed with MOORLINE_SEED={seed}");
    }
}

#[test]
fn whatever_breaks_output_is_whole_and_input_comes_once() {
    histories(300, |world| world.step());
}

#[test]
fn one_page_that_is_cut_again_and_again_sees_every_byte_and_types_each_once() {
    histories(200, |world| world.step_of_one_page());
}
