//! Who waits for which device: told when it has a link, and nobody else with them.

use std::collections::HashMap;

use moorline_wire::DeviceId;
use tokio::sync::oneshot;

/// Below so many waiters nobody looks for those who have given up.
const SWEEP_FROM: usize = 64;

/// Those who wait, and are told `T`. Each is told by a channel of its own; whoever does not want to know any more
/// drops its end.
#[derive(Debug)]
pub struct Arrivals<T> {
    count_max: usize,
    waiting: HashMap<DeviceId, Vec<oneshot::Sender<T>>>,
    count: usize,
    /// When there are so many, those who have given up are swept out: twice as many as were left
    /// the last time, so that a sweep costs each waiter no more than its own wait did.
    sweep_at: usize,
}

impl<T: Clone> Arrivals<T> {
    /// At most `count_max` may wait.
    pub fn new(count_max: usize) -> Self {
        Self { count_max, waiting: HashMap::new(), count: 0, sweep_at: SWEEP_FROM.min(count_max) }
    }

    /// Somebody waits for that device. With too many waiting, the answer is closed at once.
    pub fn wait_for(&mut self, device: DeviceId) -> oneshot::Receiver<T> {
        if self.count >= self.sweep_at {
            self.sweep();
        }
        let (tell, told) = oneshot::channel();
        if self.count < self.count_max {
            self.count += 1;
            self.waiting.entry(device).or_default().push(tell);
        }
        told
    }

    /// That device has a link; `news` is told to each.
    pub fn arrived(&mut self, device: &DeviceId, news: &T) {
        let waiting = self.waiting.remove(device).unwrap_or_default();
        self.count -= waiting.len();
        for tell in waiting {
            // Whoever has given up does not want to know.
            let _ = tell.send(news.clone());
        }
    }

    fn sweep(&mut self) {
        self.waiting.retain(|_, waiting| {
            waiting.retain(|tell| !tell.is_closed());
            !waiting.is_empty()
        });
        self.count = self.waiting.values().map(Vec::len).sum();
        self.sweep_at = self.count.saturating_mul(2).max(SWEEP_FROM).min(self.count_max);
    }
}

#[cfg(test)]
mod tests {
    use oneshot::error::TryRecvError;

    use super::*;

    fn device(letter: char) -> DeviceId {
        format!("d-{}", letter.to_string().repeat(16)).parse().unwrap()
    }

    #[test]
    fn an_arrival_tells_those_who_wait_for_that_device_and_nobody_else() {
        let mut arrivals = Arrivals::<()>::new(10);
        let [mut one, mut two] = [arrivals.wait_for(device('a')), arrivals.wait_for(device('a'))];
        let mut other = arrivals.wait_for(device('b'));
        arrivals.arrived(&device('a'), &());
        assert_eq!((one.try_recv(), two.try_recv()), (Ok(()), Ok(())));
        assert_eq!(other.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(arrivals.count, 1);
    }

    #[test]
    fn those_who_have_given_up_are_swept_out_and_those_who_wait_stay() {
        let mut arrivals = Arrivals::<()>::new(100_000);
        let mut patient = arrivals.wait_for(device('a'));
        for _ in 0..10_000 {
            drop(arrivals.wait_for(device('b')));
            drop(arrivals.wait_for(device('a')));
        }
        assert!(arrivals.count <= 2 * SWEEP_FROM, "{}", arrivals.count);
        assert_eq!(patient.try_recv(), Err(TryRecvError::Empty));
        arrivals.arrived(&device('a'), &());
        assert_eq!(patient.try_recv(), Ok(()));
    }

    #[test]
    fn no_more_wait_than_may_and_a_place_that_was_given_up_is_free_again() {
        let mut arrivals = Arrivals::<()>::new(3);
        let mut waiting: Vec<_> = (0..3).map(|_| arrivals.wait_for(device('a'))).collect();
        assert_eq!(arrivals.wait_for(device('a')).try_recv(), Err(TryRecvError::Closed));
        waiting.pop();
        let mut kept = arrivals.wait_for(device('a'));
        assert_eq!(kept.try_recv(), Err(TryRecvError::Empty));
    }
}
