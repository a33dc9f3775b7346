//! Why a browser left, counted once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::metrics::Metrics;
use crate::socket::Gone;

/// Held by everybody who may know why a browser left; whoever knows first is counted.
#[derive(Clone)]
pub struct Parting {
    metrics: Metrics,
    gone: Gone,
    counted: Arc<AtomicBool>,
}

impl Parting {
    /// Of a browser that is about to be attached.
    pub fn new(metrics: Metrics, gone: Gone) -> Self {
        Self { metrics, gone, counted: Arc::default() }
    }

    /// Its socket is gone.
    pub fn socket_gone(&self) {
        self.because(self.gone.how().label());
    }

    /// It left, or was told to, because of this.
    pub fn because(&self, cause: &'static str) {
        if !self.counted.swap(true, Ordering::Relaxed) {
            self.metrics.viewer_left(cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_who_know_why_a_browser_left_the_first_is_counted() {
        let metrics = Metrics::new();
        let parting = Parting::new(metrics.clone(), Gone::default());
        parting.clone().because("cancelled");
        parting.socket_gone();
        Parting::new(metrics.clone(), Gone::default()).socket_gone();
        let text = String::from_utf8(metrics.text()).unwrap();
        let counted: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("moorline_viewers_left") && line.ends_with(" 1"))
            .collect();
        assert_eq!(
            counted,
            [
                "moorline_viewers_left_total{cause=\"cancelled\"} 1",
                "moorline_viewers_left_total{cause=\"cut\"} 1"
            ]
        );
    }
}
