//! A bounded queue between tasks that takes no memory while it is empty.
//!
//! Ten thousand devices that are at rest have two queues each. tokio's make room for 32 messages as soon as they are
//! made, which is more than everything else that such a device needs beside its socket; these make room when there
//! is a message. They are for one reader and few writers: a lock, a deque, and the wakers of whoever waits.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::task::coop;

/// A queue for so many messages.
pub fn pipe<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let state = State {
        queue: VecDeque::new(),
        capacity,
        promised: 0,
        senders: 1,
        closed: false,
        reader: None,
        writers: Vec::new(),
        watchers: Vec::new(),
    };
    let shared = Arc::new(Shared { state: Mutex::new(state) });
    (Sender { shared: shared.clone() }, Receiver { shared })
}

/// The end that messages are put into. Cloned, there are several; when all are gone, the queue ends after what is
/// in it.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The end that messages are taken from. When it is gone, nothing can be put into the queue.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

/// Room for one message, borrowed or owned by `S`. Dropped, it is given back.
pub struct Room<T, S: AsRef<Sender<T>>> {
    sender: S,
    used: bool,
    message: PhantomData<fn(T)>,
}

/// Why nothing was put into the queue; the message comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused<T> {
    /// There is no room.
    Full(T),
    /// Nobody takes it any more.
    Closed(T),
}

struct Shared<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    queue: VecDeque<T>,
    capacity: usize,
    /// Room that somebody holds.
    promised: usize,
    senders: usize,
    closed: bool,
    reader: Option<Waker>,
    /// Those who wait for room.
    writers: Vec<Waker>,
    /// Those who wait for the end.
    watchers: Vec<Waker>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing of anybody else's runs under the lock, and nothing of ours panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn has_room(&self) -> bool {
        self.queue.len() + self.promised < self.capacity
    }
}

/// Each task once, however often it is polled.
fn remember(wakers: &mut Vec<Waker>, cx: &Context<'_>) {
    if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
        wakers.push(cx.waker().clone());
    }
}

fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl<T> Sender<T> {
    /// Puts a message into the queue, if there is room.
    pub fn try_send(&self, message: T) -> Result<(), Refused<T>> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(Refused::Closed(message));
        }
        if !state.has_room() {
            return Err(Refused::Full(message));
        }
        state.queue.push_back(message);
        let reader = state.reader.take();
        drop(state);
        wake_all(reader);
        Ok(())
    }

    /// Puts a message into the queue as soon as there is room. An error: nobody takes it any more.
    pub async fn send(&self, message: T) -> Result<(), Refused<T>> {
        match self.wait_for_room().await {
            Ok(()) => {
                Room { sender: self, used: false, message: PhantomData }.send(message);
                Ok(())
            }
            Err(()) => Err(Refused::Closed(message)),
        }
    }

    /// Takes room for one message, if there is some.
    pub fn try_reserve(&self) -> Result<Room<T, &Self>, Refused<()>> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(Refused::Closed(()));
        }
        if !state.has_room() {
            return Err(Refused::Full(()));
        }
        state.promised += 1;
        drop(state);
        Ok(Room { sender: self, used: false, message: PhantomData })
    }

    /// Takes room for one message as soon as there is some. An error: nobody takes any more.
    pub async fn reserve_owned(self) -> Result<Room<T, Self>, Refused<()>> {
        match self.wait_for_room().await {
            Ok(()) => Ok(Room { sender: self, used: false, message: PhantomData }),
            Err(()) => Err(Refused::Closed(())),
        }
    }

    /// Whether everything that was put there has been taken.
    pub fn is_empty(&self) -> bool {
        self.shared.lock().queue.is_empty()
    }

    /// Waits until nobody takes messages any more.
    pub async fn closed(&self) {
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            if state.closed {
                return Poll::Ready(());
            }
            remember(&mut state.watchers, cx);
            Poll::Pending
        })
        .await;
    }

    /// When it is done, room is promised to whoever waited.
    async fn wait_for_room(&self) -> Result<(), ()> {
        poll_fn(|cx| {
            let budget = ready!(coop::poll_proceed(cx));
            let mut state = self.shared.lock();
            let outcome = if state.closed {
                Err(())
            } else if state.has_room() {
                state.promised += 1;
                Ok(())
            } else {
                remember(&mut state.writers, cx);
                return Poll::Pending;
            };
            budget.made_progress();
            Poll::Ready(outcome)
        })
        .await
    }
}

impl<T, S: AsRef<Sender<T>>> Room<T, S> {
    /// Puts the message there.
    pub fn send(mut self, message: T) {
        self.used = true;
        let mut state = self.sender.as_ref().shared.lock();
        state.promised -= 1;
        // What nobody takes any more is dropped, outside the lock.
        let unwanted = if state.closed {
            Some(message)
        } else {
            state.queue.push_back(message);
            None
        };
        let reader = state.reader.take();
        drop(state);
        drop(unwanted);
        wake_all(reader);
    }
}

impl<T, S: AsRef<Sender<T>>> Drop for Room<T, S> {
    fn drop(&mut self) {
        if !self.used {
            let mut state = self.sender.as_ref().shared.lock();
            state.promised -= 1;
            let writers = std::mem::take(&mut state.writers);
            drop(state);
            wake_all(writers);
        }
    }
}

impl<T> AsRef<Sender<T>> for Sender<T> {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl<T> Receiver<T> {
    /// The next message, or none when the queue has ended.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// See [`Receiver::recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let budget = ready!(coop::poll_proceed(cx));
        let mut state = self.shared.lock();
        let Some(message) = state.queue.pop_front() else {
            if state.closed || state.senders == 0 {
                budget.made_progress();
                return Poll::Ready(None);
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let writers = std::mem::take(&mut state.writers);
        drop(state);
        wake_all(writers);
        budget.made_progress();
        Poll::Ready(Some(message))
    }

    /// Takes no more than what is in the queue already.
    pub fn close(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let (writers, watchers) = (std::mem::take(&mut state.writers), std::mem::take(&mut state.watchers));
        drop(state);
        wake_all(writers);
        wake_all(watchers);
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.lock().senders += 1;
        Self { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.senders -= 1;
        let reader = if state.senders == 0 { state.reader.take() } else { None };
        drop(state);
        wake_all(reader);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        let unread = std::mem::take(&mut self.shared.lock().queue);
        drop(unread);
    }
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> std::fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn messages_come_in_order_and_then_the_end() {
        let (sender, mut receiver) = pipe(2);
        let other = sender.clone();
        sender.try_send(1).unwrap();
        other.try_send(2).unwrap();
        assert_eq!(sender.try_send(3), Err(Refused::Full(3)));
        drop((sender, other));
        assert_eq!((receiver.recv().await, receiver.recv().await), (Some(1), Some(2)));
        assert_eq!(receiver.recv().await, None);
    }

    #[tokio::test]
    async fn an_empty_queue_has_room_for_nothing_yet() {
        let (sender, receiver) = pipe::<[u8; 1000]>(100);
        assert_eq!(receiver.shared.lock().queue.capacity(), 0);
        assert!(std::mem::size_of_val(&*sender.shared) < 150);
    }

    #[tokio::test]
    async fn whoever_waits_for_room_gets_it_when_a_message_is_taken_or_room_is_given_back() {
        let (sender, mut receiver) = pipe(1);
        let room = sender.try_reserve().unwrap();
        assert!(sender.try_reserve().is_err(), "the only room was taken twice");
        let mut waits = Box::pin(sender.clone().reserve_owned());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(room);
        let room = waits.await.unwrap();
        let mut sends = Box::pin(sender.send(2));
        assert!(sends.as_mut().now_or_never().is_none());
        room.send(1);
        assert!(sends.as_mut().now_or_never().is_none());
        assert_eq!(receiver.recv().await, Some(1));
        sends.await.unwrap();
        assert_eq!(receiver.recv().await, Some(2));
    }

    #[tokio::test]
    async fn a_closed_queue_gives_what_it_has_and_takes_no_more() {
        let (sender, mut receiver) = pipe(4);
        let room = sender.try_reserve().unwrap();
        sender.try_send(1).unwrap();
        let mut closed = Box::pin(sender.closed());
        assert!(closed.as_mut().now_or_never().is_none());
        receiver.close();
        closed.await;
        room.send(2);
        assert_eq!(sender.try_send(3), Err(Refused::Closed(3)));
        assert_eq!(sender.send(4).await, Err(Refused::Closed(4)));
        assert!(sender.try_reserve().is_err());
        assert_eq!((receiver.recv().await, receiver.recv().await), (Some(1), None));
    }

    #[tokio::test]
    async fn a_receiver_that_goes_takes_what_was_not_read_with_it() {
        let (sender, receiver) = pipe(4);
        let message = Arc::new(());
        sender.try_send(message.clone()).unwrap();
        drop(receiver);
        assert_eq!(Arc::strong_count(&message), 1);
        assert!(sender.try_send(message).is_err());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_lost_or_forgotten_between_threads() {
        let (sender, mut receiver) = pipe(3);
        let mut writers = Vec::new();
        for writer in 0..4_u64 {
            let sender = sender.clone();
            writers.push(tokio::spawn(async move {
                for number in 0..10_000_u64 {
                    if number % 2 == 0 {
                        sender.send((writer, number)).await.unwrap();
                    } else {
                        sender.clone().reserve_owned().await.unwrap().send((writer, number));
                    }
                }
            }));
        }
        drop(sender);
        let mut next = [0; 4];
        let all = async {
            while let Some((writer, number)) = receiver.recv().await {
                assert_eq!(next[writer as usize], number);
                next[writer as usize] += 1;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
        assert_eq!(next, [10_000; 4]);
    }
}
