//! What the sandbox costs: the calls of one plain exchange (12 headers and 1 KiB in, identify, admit, judge,
//! settle) and `feed` of a 200-byte chunk, through the component and natively, with nothing else around them.

use anyhow::Result;

use crate::report::Report;

/// Measures both, alternating.
pub fn measure(report: &mut Report) -> Result<()> {
    report.missing("the guest's calls");
    Ok(())
}
