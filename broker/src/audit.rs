//! The audit: every act that matters for security, in the log at once and then in the store.
//!
//! What is done is not held up by the store: rows wait in a queue, in their order. What the queue cannot
//! take, or the store does not, is in the log alone; the log says so.

use moorline_wire::Code;
use tokio::sync::{mpsc, oneshot};

use crate::problem::Problem;
use crate::store::{AuditRow, Store};

/// Rows that wait for the store. A store that does not answer for that long is a failure of its own.
const WAITING_MAX: usize = 4096;

/// So many of them are written at once: a fleet that is enrolled in one go is an act for each device.
const WRITTEN_AT_ONCE: usize = 512;

/// After so many rows it is looked whether there are too many.
const BOUND_EVERY: usize = 1000;

/// Takes acts. Cheap to clone.
#[derive(Clone)]
pub struct Auditor {
    waiting: mpsc::Sender<Waiting>,
}

enum Waiting {
    Row(Box<AuditRow>),
    Flush(oneshot::Sender<()>),
}

impl Auditor {
    /// Starts the writer on the current thread; it ends with the last clone.
    pub fn start(store: Store, count_max: usize) -> Self {
        let (waiting, rows) = mpsc::channel(WAITING_MAX);
        // Owner: the senders, which are in `Auditor`: without one, it has nothing to do any more.
        actix_rt::spawn(write(rows, store, count_max));
        Self { waiting }
    }

    /// Keeps an act.
    pub fn record(&self, row: AuditRow) {
        tracing::info!(
            target: "audit",
            who = row.who,
            what = row.what,
            on = row.target,
            from = row.address,
            outcome = row.outcome,
            request_id = row.request_id
        );
        if self.waiting.try_send(Waiting::Row(Box::new(row))).is_err() {
            tracing::error!("an act of the audit is in this log alone: the store takes none");
        }
    }

    /// Waits until all that came before is in the store.
    pub async fn flush(&self) -> Result<(), Problem> {
        let (done, flushed) = oneshot::channel();
        let gone = || Problem::new(Code::INTERNAL);
        self.waiting.send(Waiting::Flush(done)).await.map_err(|_| gone())?;
        flushed.await.map_err(|_| gone())
    }
}

async fn write(mut rows: mpsc::Receiver<Waiting>, store: Store, count_max: usize) {
    let mut since_bounded = 0;
    let mut waiting = Vec::new();
    while rows.recv_many(&mut waiting, WRITTEN_AT_ONCE).await > 0 {
        let (mut acts, mut flushes) = (Vec::new(), Vec::new());
        for waiting in waiting.drain(..) {
            match waiting {
                Waiting::Row(row) => acts.push(*row),
                Waiting::Flush(done) => flushes.push(done),
            }
        }
        if !acts.is_empty() {
            // The store has told the log that it did not take them; the acts themselves are there as well.
            let _ = store.add_audit(&acts).await;
            since_bounded += acts.len();
        }
        // Nobody waits for it any more: that is their affair.
        for done in flushes {
            let _ = done.send(());
        }
        if since_bounded >= BOUND_EVERY {
            since_bounded = 0;
            // A failure is told by the store, and it is tried again.
            let _ = store.bound_audit(count_max).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::wall;
    use crate::store::AuditFilter;
    use crate::testkit::Kit;

    #[actix::test]
    async fn thousands_of_acts_at_once_are_kept_in_their_order() {
        let kit = Kit::new().await;
        for number in 0..4000 {
            kit.audit.record(AuditRow {
                seq: 0,
                at: wall(),
                who: "anna".to_owned(),
                what: "device_enroll".to_owned(),
                target: number.to_string(),
                address: String::new(),
                outcome: "done".to_owned(),
                request_id: String::new(),
            });
        }
        kit.audit.flush().await.unwrap();
        let kept = kit.store.audit(AuditFilter { count_max: 5000, ..Default::default() }).await.unwrap();
        let targets: Vec<_> = kept.iter().rev().map(|row| row.target.clone()).collect();
        assert_eq!(targets, (0..4000).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}
