//! What is done about the files of a certificate, which are looked at again and again. Pure.
//!
//! Whoever renews a certificate writes two files, one after the other, and perhaps not in one go. So what cannot be
//! used is looked at once more before anybody is told, and then told once.

/// The SHA-256 of what was found.
pub(super) type Digest = [u8; 32];

/// See the module.
#[derive(Debug)]
pub(super) struct Renewal {
    /// What is shown to new connections.
    shown: Digest,
    /// What was found last and cannot be used, and how often in a row.
    doubted: Option<(Digest, u32)>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: what is shown stays.
    Keep,
    /// Show what was found.
    Take,
    /// Say that what was found cannot be used; what is shown stays.
    Complain,
}

impl Renewal {
    /// What was found at the start is shown.
    pub(super) fn of(shown: Digest) -> Self {
        Self { shown, doubted: None }
    }

    /// Whether this is what is shown.
    pub(super) fn is_shown(&self, found: Digest) -> bool {
        self.shown == found
    }

    /// The files were looked at; `usable` says whether that can be shown.
    pub(super) fn looked(&mut self, found: Digest, usable: bool) -> Verdict {
        if usable {
            self.doubted = None;
            return if std::mem::replace(&mut self.shown, found) == found {
                Verdict::Keep
            } else {
                Verdict::Take
            };
        }
        let times = match self.doubted {
            Some((before, times)) if before == found => times.saturating_add(1),
            _ => 1,
        };
        self.doubted = Some((found, times));
        if times == 2 { Verdict::Complain } else { Verdict::Keep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Digest = [1; 32];
    const NEW: Digest = [2; 32];
    const BROKEN: Digest = [3; 32];

    #[test]
    fn what_is_new_and_good_is_taken_once() {
        let mut renewal = Renewal::of(OLD);
        assert_eq!(renewal.looked(OLD, true), Verdict::Keep);
        assert_eq!(renewal.looked(NEW, true), Verdict::Take);
        assert_eq!(renewal.looked(NEW, true), Verdict::Keep);
        assert!(renewal.is_shown(NEW) && !renewal.is_shown(OLD));
    }

    #[test]
    fn what_cannot_be_used_is_told_when_it_stays_and_only_once() {
        let mut renewal = Renewal::of(OLD);
        let told: Vec<_> = (0..5).map(|_| renewal.looked(BROKEN, false)).collect();
        assert_eq!(told, [Verdict::Keep, Verdict::Complain, Verdict::Keep, Verdict::Keep, Verdict::Keep]);
        assert!(renewal.is_shown(OLD));
    }

    #[test]
    fn half_of_a_renewal_is_no_complaint() {
        let mut renewal = Renewal::of(OLD);
        assert_eq!(renewal.looked(BROKEN, false), Verdict::Keep);
        assert_eq!(renewal.looked(NEW, true), Verdict::Take);
        // The same half again, at the next renewal.
        assert_eq!(renewal.looked(BROKEN, false), Verdict::Keep);
        assert_eq!(renewal.looked(OLD, true), Verdict::Take);
    }

    #[test]
    fn what_breaks_in_another_way_is_told_again() {
        let mut renewal = Renewal::of(OLD);
        for broken in [BROKEN, NEW] {
            assert_eq!(renewal.looked(broken, false), Verdict::Keep);
            assert_eq!(renewal.looked(broken, false), Verdict::Complain);
        }
    }
}
