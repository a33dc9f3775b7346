//! Whether a person who sees only the dashboards could tell what failed: the figures that stand for the
//! fault have moved.

use anyhow::{Result, ensure};
use moorline_tests::figures::Figures;
use moorline_tests::wait::eventually;
use moorline_tests::{Broker, signs, wait};

use crate::faults::Fault;
use crate::report::Row;

/// Waits until each sign of the fault shows, and notes those that do not. `words`: which two faults it
/// was, if it is made of two. Of these one must show: it may have ended what the other would have hit.
pub async fn look(row: &mut Row, words: &str, before: &Figures, broker: &Broker) {
    let names = match row.fault {
        Fault::TwoAtOnce => words.split(" and ").collect(),
        fault => vec![fault.name()],
    };
    if let Err(error) = shows(&names, before, broker).await {
        row.unseen += 1;
        row.account.notes.push(format!("round {} {words}: {error:#}", row.rounds));
    }
}

async fn shows(names: &[&str], before: &Figures, broker: &Broker) -> Result<()> {
    let faults: Vec<_> = names.iter().filter_map(|name| signs::of(name)).collect();
    ensure!(faults.len() == names.len(), "not all of {names:?} have signs");
    eventually(wait::SOON, "the signs of the fault", async || {
        let now = broker.figures().await?;
        let missing: Vec<_> = faults.iter().map(|fault| fault.missing(before, &now)).collect();
        ensure!(missing.iter().any(Vec::is_empty), "{}", missing.concat().join("; "));
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_signs() {
        let without: Vec<_> =
            Fault::ALL.into_iter().filter(|fault| signs::of(fault.name()).is_none()).collect();
        assert_eq!(without, [Fault::TwoAtOnce], "it is made of others");
        for fault in signs::FAULTS {
            assert!(Fault::named(fault.name).is_some(), "there is no fault {}", fault.name);
        }
    }
}
