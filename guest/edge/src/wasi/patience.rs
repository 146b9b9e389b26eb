//! How long is waited for a ledger that is somewhere else.
//!
//! Whoever needs an answer waits for as long as the configuration says, and then knows nothing: nothing is granted that
//! was not heard to be. What nobody waits for is tried again for a while; a hold that was never settled is charged when
//! its lease has passed.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tollgate_ledger::Unavailable;

use super::{WasiClock, failed};
use crate::Clock as _;

/// How long a try may take that nobody waits for, and the pauses before the next ones.
pub const PATIENCE: Duration = Duration::from_secs(5);
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(2), Duration::from_secs(10)];

/// What comes of this in time.
///
/// # Errors
/// What it fails with, or that it did not answer.
pub async fn within<T>(
    span: Duration,
    asked: impl Future<Output = Result<T, Unavailable>>,
) -> Result<T, Unavailable> {
    let mut asked = pin!(asked);
    let mut late: Pin<Box<dyn Future<Output = ()>>> = Box::pin(WasiClock.pause(span));
    poll_fn(|cx| {
        if let Poll::Ready(answer) = asked.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        late.as_mut().poll(cx).map(|()| Err(Unavailable::new("it did not answer in time")))
    })
    .await
}

/// Asks where nobody can wait, and again while it fails. What never succeeds goes to the log: `what` went wrong, and `of`
/// what.
pub fn insist<T: 'static>(
    what: &'static str,
    of: &str,
    ask: impl AsyncFn() -> Result<T, Unavailable> + 'static,
) {
    let of = of.to_owned();
    wasip3::spawn(async move {
        let mut pauses = PAUSES.iter();
        loop {
            let Err(cause) = within(PATIENCE, ask()).await else { return };
            let Some(pause) = pauses.next() else {
                return failed(what, &of, &cause);
            };
            WasiClock.pause(*pause).await;
        }
    });
}
