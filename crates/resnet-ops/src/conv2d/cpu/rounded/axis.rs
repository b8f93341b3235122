//! Where a pass's sources and targets lie along one axis, once the source is rounded.
//!
//! Every stride-th coordinate of the source goes to a plane of its own, so that neighbouring targets read neighbouring places whatever
//! the stride. The zeros before a line are also the padding behind the line before:
//!
//! ```text
//!   3x3, stride 1:                    0 x x x x │ 0 x x x x │ 0 …         5 places for 4 targets, the last one nobody's
//!   3x3, stride 2:     plane 0:           x x x │   x x x │               coordinates 0 2 4
//!                      plane 1:         0 x x x │ 0 x x x │ 0 …           coordinates 1 3 5, after −1
//! ```

use crate::algorithm::Pass;
use crate::conv2d::shape::ConvShape;

/// Channels that a pass goes from and to.
pub(super) fn ends(shape: &ConvShape, pass: Pass) -> [usize; 2] {
    match pass {
        Pass::InputGradient => [shape.out_channels, shape.in_channels],
        Pass::Forward | Pass::WeightGradient => [shape.in_channels, shape.out_channels],
    }
}

/// A kernel place with what it meets: of target number k, place k + `offset` of a plane. Offsets count from the zeros on.
pub(super) struct Tap {
    pub(super) tap: usize,
    pub(super) plane: usize,
    pub(super) offset: usize,
}

/// Targets that meet the same kernel places: all, or with an input gradient's stride every stride-th.
pub(super) struct Phase {
    pub(super) count: usize,
    /// The first target coordinate; the next is `Axis::target_step` further.
    pub(super) first: usize,
    pub(super) taps: Vec<Tap>,
}

/// One axis of a pass.
pub(super) struct Axis {
    pub(super) phases: Vec<Phase>,
    pub(super) target_step: usize,
    /// Planes, of every `step`-th coordinate each.
    pub(super) planes: usize,
    pub(super) step: usize,
    /// Coordinates of the source.
    pub(super) source: usize,
    /// Zeros before a plane's coordinates.
    pub(super) lead: usize,
    /// The largest offset.
    pub(super) reach: usize,
    /// Most targets of a phase.
    pub(super) count: usize,
}

impl Axis {
    pub(super) fn new(shape: &ConvShape, pass: Pass, axis: usize) -> Self {
        let (input, output) = (shape.input[axis], shape.output()[axis]);
        let (stride, padding) = (shape.stride[axis], shape.padding[axis] as isize);
        let taps = 0..shape.kernel[axis];
        let steps = stride as isize;
        // Each kernel place with plane and offset, which may be negative.
        let (phases, source, step, target_step): (Vec<(usize, usize, Vec<_>)>, _, _, _) = match pass {
            Pass::Forward | Pass::WeightGradient => {
                let met = |tap: usize| (tap, tap as isize - padding);
                let met = taps.map(met).map(|(tap, at)| (tap, at.rem_euclid(steps) as usize, at.div_euclid(steps)));
                (vec![(output, 0, met.collect())], input, stride, 1)
            }
            Pass::InputGradient => {
                let phase = |first: usize| {
                    let met = taps.clone().map(|tap| (tap, first as isize + padding - tap as isize));
                    let met = met.filter(|(_, at)| at.rem_euclid(steps) == 0).map(|(tap, at)| (tap, 0, at / steps));
                    ((input - first).div_ceil(stride), first, met.collect())
                };
                ((0..stride.min(input)).map(phase).collect(), output, 1, stride)
            }
        };
        let all = || phases.iter().flat_map(|(.., taps)| taps);
        let lead = all().map(|&(.., at)| -at).max().unwrap_or_default().max(0);
        let reach = all().map(|&(.., at)| at + lead).max().unwrap_or_default() as usize;
        let planes = all().map(|&(_, plane, _)| plane + 1).max().unwrap_or(1);
        let count = phases.iter().map(|&(count, ..)| count).max().unwrap_or_default();
        let phases = phases.into_iter().map(|(count, first, taps)| {
            let tap = |(tap, plane, at)| Tap { tap, plane, offset: (at + lead) as usize };
            Phase { count, first, taps: taps.into_iter().map(tap).collect() }
        });
        let phases = phases.collect();
        Self { phases, target_step, planes, step, source, lead: lead as usize, reach, count }
    }

    /// Coordinates of a plane that some target meets, from the first on.
    pub(super) fn stored(&self, plane: usize) -> usize {
        let there = self.source.saturating_sub(plane).div_ceil(self.step);
        there.min((self.count + self.reach).saturating_sub(self.lead))
    }

    /// Places from one line of coordinates to the next, of which the first `lead` are zeros that serve the line before, too.
    pub(super) fn pitch(&self) -> usize {
        let stored = (0..self.planes).map(|plane| self.stored(plane)).max().unwrap_or_default();
        (self.lead + stored).max(self.count + self.reach - self.lead.min(self.reach))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of coordinates as they are stored, each counted from 1; of each pair of target and kernel place what is there.
    #[test]
    fn targets_meet_what_a_convolution_joins() {
        for (input, kernel, stride, padding) in [
            (7, 3, 1, 1),
            (8, 3, 2, 1),
            (9, 7, 2, 3),
            (5, 1, 2, 0),
            (4, 2, 3, 1),
            (3, 3, 1, 2),
            (4, 3, 1, 0),
            (2, 5, 1, 4),
        ] {
            let shape = ConvShape {
                in_channels: 1,
                out_channels: 1,
                kernel: [kernel; 2],
                stride: [stride; 2],
                padding: [padding; 2],
                groups: 1,
                bias: false,
                input: [input; 2],
                plain_input: false,
            };
            let output = shape.output()[0];
            for pass in [Pass::Forward, Pass::InputGradient] {
                let axis = Axis::new(&shape, pass, 0);
                let pitch = axis.pitch();
                let lines: Vec<Vec<usize>> = (0..axis.planes)
                    .map(|plane| {
                        let mut line = vec![0; 2 * pitch + axis.lead];
                        for place in 0..axis.stored(plane) {
                            line[axis.lead + place] = 1 + plane + place * axis.step;
                            line[pitch + axis.lead + place] = 1 + plane + place * axis.step;
                        }
                        line
                    })
                    .collect();
                let mut found = Vec::new();
                for phase in &axis.phases {
                    assert!(phase.count <= pitch);
                    for k in 0..phase.count {
                        for tap in &phase.taps {
                            let at = lines[tap.plane][k + tap.offset];
                            if at > 0 {
                                found.push((phase.first + k * axis.target_step, at - 1, tap.tap));
                            }
                        }
                    }
                }
                found.sort_unstable();
                let mut expected = Vec::new();
                for o in 0..output {
                    for tap in 0..kernel {
                        if let Some(i) = (o * stride + tap).checked_sub(padding).filter(|&i| i < input) {
                            expected.push(if pass == Pass::Forward { (o, i, tap) } else { (i, o, tap) });
                        }
                    }
                }
                expected.sort_unstable();
                assert_eq!(found, expected, "{input} {kernel} {stride} {padding} {pass:?}");
            }
        }
    }
}
