//! What the runtimes of the broker's threads say about themselves, as far as tokio tells without
//! being built in a special way.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::families::Families;

/// The threads whose runtimes are asked. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Runtimes(Arc<Mutex<Vec<Runtime>>>);

struct Runtime {
    /// `main`, or `worker-N`: as many as there are threads.
    label: String,
    handle: Handle,
}

impl Runtimes {
    /// Asks the current thread's runtime from now on. The first is the main one.
    pub(super) fn add_current(&self) {
        let mut runtimes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let label = match runtimes.len() {
            0 => "main".to_owned(),
            nth => format!("worker-{nth}"),
        };
        runtimes.push(Runtime { label, handle: Handle::current() });
    }

    /// Writes down what they say now. Under the lock, so that two scrapes do not count a second twice.
    pub(super) fn tell(&self, families: &Families) {
        let runtimes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut tasks, mut workers) = (0, 0);
        for runtime in runtimes.iter() {
            tasks += runtime.tell(families);
            workers += runtime.handle.metrics().num_workers();
        }
        families.tasks.set(whole(tasks));
        families.runtime_workers.set(whole(workers));
    }
}

impl Runtime {
    fn tell(&self, families: &Families) -> usize {
        let (metrics, label) = (self.handle.metrics(), [self.label.as_str()]);
        let tasks = metrics.num_alive_tasks();
        families.runtime_tasks.with_label_values(&label).set(whole(tasks));
        families.runtime_queue.with_label_values(&label).set(whole(metrics.global_queue_depth()));
        // Every thread has a runtime of its own with one worker.
        let busy = metrics.worker_total_busy_duration(0).as_secs_f64();
        let counted = families.runtime_busy.with_label_values(&label);
        counted.inc_by((busy - counted.get()).max(0.0));
        #[allow(clippy::cast_precision_loss, reason = "a count of parks is far below 2^53")]
        let parks = metrics.worker_park_count(0) as f64;
        let counted = families.runtime_parks.with_label_values(&label);
        counted.inc_by((parks - counted.get()).max(0.0));
        tasks
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
