//! How large a log becomes at most.
//!
//! A thief of a trusted key may fill the log. What takes trust away has room even then: the last places of the chain and
//! the last bytes are kept for it, and updates that do not count are counted apart.

use crate::error::LockUpdateError;

/// How many updates follow each other at most: clients follow no longer chain.
pub const MOST_UPDATES: usize = 2000;
/// How many of them are kept for updates after which fewer of the keys are trusted that were trusted before.
const KEPT_UPDATES: usize = 100;
/// How many updates there are beside the chain when no more of them are taken.
const MOST_ASIDE: usize = 1000;
/// How many updates there are altogether: where one that weighs more forks the chain, all that follow stand aside.
const MOST_OF_ALL: usize = 2 * MOST_UPDATES + MOST_ASIDE;
/// The encoded updates together. A log of twenty keys has some hundred kilobytes when its chain is full.
const MOST_BYTES: usize = 3 << 20;
/// How many more are kept for updates after which fewer keys are trusted: more than the largest has.
const KEPT_BYTES: usize = 512 << 10;

/// How large a log is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogSize {
    /// The encoded updates together.
    pub(crate) bytes: usize,
    /// The longest way from the genesis, whether it counts or not.
    pub(crate) longest: usize,
    /// The updates that count.
    pub(crate) chain: usize,
    /// All updates.
    pub(crate) all: usize,
}

impl LogSize {
    /// Refuses what is never taken.
    pub(crate) fn check_absolute(self) -> Result<(), LockUpdateError> {
        if self.bytes > MOST_BYTES + KEPT_BYTES {
            return Err(LockUpdateError::LogTooLong(self.bytes));
        }
        if self.longest > MOST_UPDATES || self.all > MOST_OF_ALL + KEPT_UPDATES {
            return Err(LockUpdateError::LogFull(self.longest));
        }
        Ok(())
    }

    /// Refuses additions for which there is no room: `is_aside` where some of them do not count, `withdraws_trust` where
    /// fewer of the keys are trusted that were trusted before.
    pub(crate) fn check(
        self,
        is_aside: bool,
        withdraws_trust: bool,
    ) -> Result<(), LockUpdateError> {
        self.check_absolute()?;
        let aside = self.all - self.chain;
        if is_aside && aside > MOST_ASIDE {
            return Err(LockUpdateError::Aside(aside));
        }
        if withdraws_trust {
            return Ok(());
        }
        if self.bytes > MOST_BYTES {
            return Err(LockUpdateError::LogTooLong(self.bytes));
        }
        if self.chain > MOST_UPDATES - KEPT_UPDATES || self.all > MOST_OF_ALL {
            return Err(LockUpdateError::LogFull(self.chain));
        }
        Ok(())
    }
}
