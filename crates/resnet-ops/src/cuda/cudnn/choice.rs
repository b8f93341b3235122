//! Which of several plans is to be used.

use crate::DeviceError;
use candle_core::{bail, Error, Result};

/// The number of the plan that takes the least time, of those whose workspaces there is memory for: `reserve` makes room for so many
/// bytes, `time` runs one of them. Plans that cannot run after all are left out.
///
/// # Errors
/// The last plan's, if none can run.
pub fn fastest(
    workspaces: &[i64],
    mut reserve: impl FnMut(i64) -> Result<()>,
    mut time: impl FnMut(usize) -> Result<f32>,
) -> Result<usize> {
    let mut fitting: Vec<usize> = (0..workspaces.len()).collect();
    let (mut fastest, mut problem) = (None, None);
    // The room is that of the largest which can be had.
    while let Some(most) = fitting.iter().map(|&plan| workspaces[plan]).max() {
        match reserve(most) {
            Ok(()) => break,
            Err(error) if is_out_of_memory(&error) => {
                fitting.retain(|&plan| workspaces[plan] < most);
                problem = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    for plan in fitting {
        match time(plan) {
            Ok(time) if fastest.is_none_or(|(least, _)| time < least) => fastest = Some((time, plan)),
            Ok(_) => {}
            Err(error) => problem = Some(error),
        }
    }
    match (fastest, problem) {
        (Some((_, plan)), _) => Ok(plan),
        (None, Some(problem)) => Err(problem),
        (None, None) => bail!("there is no plan to choose from"),
    }
}

/// Whether an error is that there is no memory.
pub fn is_out_of_memory(error: &Error) -> bool {
    matches!(DeviceError::of(error), Some(DeviceError::OutOfMemory(_)))
}

#[cfg(test)]
mod tests {
    use super::fastest;
    use crate::DeviceError;
    use candle_core::Result;

    /// Chooses where there is room for so many bytes; which sizes were asked for, and what came of it.
    fn choose(room: i64, plans: &[(i64, Option<f32>)]) -> (Vec<i64>, Result<usize>) {
        let (mut asked, workspaces) = (Vec::new(), plans.iter().map(|&(bytes, _)| bytes).collect::<Vec<_>>());
        let mut reserved = 0;
        let chosen = fastest(
            &workspaces,
            |bytes| {
                asked.push(bytes);
                if bytes > room {
                    return Err(DeviceError::OutOfMemory(format!("no {bytes} bytes")).into());
                }
                reserved = bytes;
                Ok(())
            },
            |plan| plans[plan].1.ok_or_else(|| DeviceError::Failed(format!("plan {plan} does not run")).into()),
        );
        if let Ok(plan) = chosen {
            assert!(workspaces[plan] <= reserved);
        }
        (asked, chosen)
    }

    #[test]
    fn the_fastest_that_runs_is_taken() {
        let plans = [(8, Some(2.0)), (4, Some(1.0)), (0, None), (2, Some(1.0))];
        let (asked, chosen) = choose(100, &plans);
        assert_eq!((asked, chosen.unwrap()), (vec![8], 1));
    }

    #[test]
    fn what_there_is_no_memory_for_is_left_out() {
        let plans = [(800, Some(0.1)), (400, Some(0.2)), (400, Some(0.1)), (40, Some(0.9)), (0, Some(0.8))];
        let (asked, chosen) = choose(100, &plans);
        assert_eq!((asked, chosen.unwrap()), (vec![800, 400, 40], 4));
    }

    #[test]
    fn the_last_reason_is_told_where_none_can_be_used() {
        let message = |chosen: Result<usize>| chosen.unwrap_err().to_string();
        assert_eq!(message(choose(1, &[(8, Some(1.0)), (4, Some(2.0))]).1), "no 4 bytes");
        assert_eq!(message(choose(9, &[(8, None), (4, None)]).1), "plan 1 does not run");
        assert_eq!(message(choose(5, &[(8, Some(1.0)), (4, None)]).1), "plan 1 does not run");
        let broken = fastest(&[8, 4], |_| Err(DeviceError::Failed("the GPU failed".into()).into()), |_| Ok(1.0));
        assert_eq!(message(broken), "the GPU failed");
    }
}
