//! Every exit code, a sentence each.

/// How a command ended, as the shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything asked for was done.
    Done = 0,
    /// The script failed, which includes an object that was not found.
    Failed = 1,
    /// The command line is wrong, or the script does not check; nothing was sent.
    Usage = 2,
    /// Done in part: some writes failed and are listed. Skipped rooms never lead here.
    Partial = 3,
    /// Refused: a guard, an approval, a stale plan or a lock held by another run.
    Refused = 4,
    /// A wait ran out of time.
    TimedOut = 5,
    /// No cluster configured, unreachable, forbidden, or OKG's CRDs are missing.
    Unavailable = 6,
    /// Interrupted by a signal; what was done is printed.
    Interrupted = 130,
}
