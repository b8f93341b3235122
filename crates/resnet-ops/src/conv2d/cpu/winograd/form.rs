//! The one-dimensional transforms of a tile, and how they apply to both its sides.
//!
//! y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ d B)]A for a tile d of pixels, a 3x3 kernel w and m² outputs y: F(4, 3), with the points 0, 1, −1,
//! 2, −2, ∞, and F(6, 3), with 0, 1, −1, 2, −2, 1/2, −1/2, ∞. Transposed, the same matrices give the weight gradient:
//! dw = Gᵀ[(Bᵀ d B) ⊙ (A dy Aᵀ)]G.
//!
//! With stride 2, along one side, a kernel's outer weights meet every other pixel, the middle one those between:
//!
//! ```text
//!   y[i] = w0·d[2i] + w2·d[2i + 2]  +  w1·d[2i + 1]        4 points of F(3, 2): 0, 1, −1, ∞; then 3 products of w1 as it is
//! ```
//!
//! That makes 7 products a side for 3 outputs, where the direct kernel needs 9, and their weights 5 points, the last of which
//! serves three. The input gradient goes the same way: dx\[2i + 1\] = w2·dy\[i\] + w0·dy\[i + 1\] and dx\[2i\] = w1·dy\[i\].
//!
//! A map of three pixels a side, padding included, needs no more than 4 points, as its outermost windows meet zeros: with
//! A = (a b c d), a, b = (1, ±3/2, 1) and c, d = (1, ±1/2, −1), any d1, d2, d3 have four numbers v of which
//!
//! ```text
//!   ⎡ 0  d1 d2 ⎤
//!   ⎢ d1 d2 d3 ⎥ = v0·a aᵀ + v1·b bᵀ + v2·c cᵀ + v3·d dᵀ        and that times w is y
//!   ⎣ d2 d3 0  ⎦
//! ```
//!
//! ```text
//!    columns first              then rows
//!   ┌ │ │ │ │ │ │ ┐  FROM × TO  ┌ ───────── ┐
//!   │ ↓ ↓ ↓ ↓ ↓ ↓ │ ──────────▶ │ ────────▶ │   each arrow one transform of vectors of 16 channels
//!   └ │ │ │ │ │ │ ┘             └ ───────── ┘
//! ```

use crate::simd::Simd;
use std::mem::MaybeUninit;

/// Longest side of a tile, in pixels or points.
pub(super) const MOST_SIDE: usize = 8;

/// A line of a tile, in vectors of 16 channels; a shorter one leaves the rest unused.
pub(super) type Line<S> = [<S as Simd>::V; MOST_SIDE];

/// A linear map between lines.
pub(super) trait Transform {
    /// Values read and values made.
    const FROM: usize;
    const TO: usize;
    unsafe fn apply<S: Simd>(line: Line<S>) -> Line<S>;
}

/// The transforms of one kind of tile.
pub(super) trait Form {
    /// Bᵀ: pixels to points.
    type Input: Transform;
    /// Aᵀ: points to outputs.
    type Output: Transform;
    /// For the input gradient: output gradients to points, and points to input gradients.
    type BackInput: Transform;
    type BackOutput: Transform;
    /// A: output gradients to points, for the weight gradient.
    type Gradient: Transform;
    /// G: weights to points.
    type Weights: Transform;
    /// Gᵀ: points to weight gradients.
    type WeightGradient: Transform;
}

/// Which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Six,
    Four,
    Whole,
    Strided,
}

/// Evaluates an expression with the form of a size as a type.
macro_rules! with_form {
    ($size:expr, $form:ident => $body:expr) => {
        match $size {
            $crate::conv2d::cpu::winograd::form::Size::Six => {
                type $form = $crate::conv2d::cpu::winograd::form::Six;
                $body
            }
            $crate::conv2d::cpu::winograd::form::Size::Four => {
                type $form = $crate::conv2d::cpu::winograd::form::Four;
                $body
            }
            $crate::conv2d::cpu::winograd::form::Size::Whole => {
                type $form = $crate::conv2d::cpu::winograd::form::Whole;
                $body
            }
            $crate::conv2d::cpu::winograd::form::Size::Strided => {
                type $form = $crate::conv2d::cpu::winograd::form::Strided;
                $body
            }
        }
    };
}
pub(super) use with_form;

impl Size {
    /// Outputs of a tile along one side.
    pub(super) fn outputs(self) -> usize {
        with_form!(self, F => <F as Form>::Output::TO)
    }

    /// Pixels from an output's window to the next's.
    pub(super) fn stride(self) -> usize {
        if self == Self::Strided {
            2
        } else {
            1
        }
    }

    /// Points along one side, of tiles and of weights.
    fn sides(self) -> (usize, usize) {
        with_form!(self, F => (<F as Form>::Input::TO, <F as Form>::Weights::TO))
    }

    /// Products of a tile for a pair of channels.
    pub(super) fn points(self) -> usize {
        self.sides().0.pow(2)
    }

    /// Points of the weights between a pair of channels.
    pub(super) fn weights(self) -> usize {
        self.sides().1.pow(2)
    }

    /// The point of the weights that a point of tiles is multiplied by.
    pub(super) fn weights_of(self, point: usize) -> usize {
        let (side, weights) = self.sides();
        (point / side).min(weights - 1) * weights + (point % side).min(weights - 1)
    }

    /// The points of tiles that a point of the weights multiplies.
    pub(super) fn points_of(self, weights: usize) -> impl Iterator<Item = usize> {
        (0..self.points()).filter(move |&point| self.weights_of(point) == weights)
    }
}

/// Applies a transform to both sides: `column(j)` gives column j of a tile, `row(i, line)` takes row i of the result.
#[inline(always)]
pub(super) unsafe fn both<S: Simd, T: Transform>(
    column: impl Fn(usize) -> Line<S>,
    mut row: impl FnMut(usize, Line<S>),
) {
    // SAFETY: arithmetic on registers, in code compiled for the instruction set.
    unsafe {
        let mut half = MaybeUninit::<[Line<S>; MOST_SIDE]>::uninit();
        let half = half.as_mut_ptr().cast::<Line<S>>();
        for j in 0..T::FROM {
            let line = T::apply::<S>(column(j));
            for i in 0..T::TO {
                (*half.add(i))[j] = line[i];
            }
        }
        for i in 0..T::TO {
            row(i, T::apply::<S>(*half.add(i)));
        }
    }
}

macro_rules! transform {
    ($name:ident<$S:ident>: $from:literal to $to:literal, |$line:ident| $body:expr) => {
        pub(super) struct $name;
        impl Transform for $name {
            const FROM: usize = $from;
            const TO: usize = $to;
            #[inline(always)]
            unsafe fn apply<$S: Simd>($line: Line<$S>) -> Line<$S> {
                // SAFETY: arithmetic on registers, in code compiled for the instruction set.
                unsafe {
                    let made: [$S::V; $to] = $body;
                    let mut line = [$S::splat(0.0); MOST_SIDE];
                    line[..$to].copy_from_slice(&made);
                    line
                }
            }
        }
    };
}

/// F(6x6, 3x3): 64 products for 36 outputs.
pub(super) struct Six;
impl Form for Six {
    type Input = Input6;
    type Output = Output6;
    type BackInput = Input6;
    type BackOutput = Output6;
    type Gradient = Gradient6;
    type Weights = Weights6;
    type WeightGradient = WeightGradient6;
}

/// F(4x4, 3x3): 36 products for 16 outputs.
pub(super) struct Four;
impl Form for Four {
    type Input = Input4;
    type Output = Output4;
    type BackInput = Input4;
    type BackOutput = Output4;
    type Gradient = Gradient4;
    type Weights = Weights4;
    type WeightGradient = WeightGradient4;
}

/// A whole map of 3x3: 16 products for 9 outputs.
pub(super) struct Whole;
impl Form for Whole {
    type Input = WholeInput;
    type Output = WholeOutput;
    type BackInput = WholeInput;
    type BackOutput = WholeOutput;
    type Gradient = WholeGradient;
    type Weights = WholeWeights;
    type WeightGradient = WholeWeightGradient;
}

/// Stride 2, 3 outputs a side: 49 products for 9 outputs.
pub(super) struct Strided;
impl Form for Strided {
    type Input = StridedInput;
    type Output = StridedOutput;
    type BackInput = StridedBackInput;
    type BackOutput = StridedBackOutput;
    type Gradient = StridedGradient;
    type Weights = StridedWeights;
    type WeightGradient = StridedWeightGradient;
}

transform!(Input6<S>: 8 to 8, |d| {
    let (ends, minus_middle, minus_five) = (S::splat(5.25), S::splat(-4.25), S::splat(-5.0));
    let (even, odd) = (S::fma(minus_middle, d[4], S::add(d[2], d[6])), S::fma(minus_middle, d[3], S::add(d[1], d[5])));
    // At 2 and at 1/2, where the odd pixels' factors are twice these.
    let (even2, odd2) = (
        S::fma(S::splat(0.25), d[2], S::fma(S::splat(-1.25), d[4], d[6])),
        S::fma(S::splat(0.25), d[1], S::fma(S::splat(-1.25), d[3], d[5])),
    );
    let (even3, odd3) = (
        S::fma(S::splat(4.0), d[2], S::fma(minus_five, d[4], d[6])),
        S::fma(S::splat(4.0), d[1], S::fma(minus_five, d[3], d[5])),
    );
    let (two, minus_two, half, minus_half) = (S::splat(2.0), S::splat(-2.0), S::splat(0.5), S::splat(-0.5));
    [
        S::fma(ends, S::sub(d[4], d[2]), S::sub(d[0], d[6])),
        S::add(even, odd),
        S::sub(even, odd),
        S::fma(two, odd2, even2),
        S::fma(minus_two, odd2, even2),
        S::fma(half, odd3, even3),
        S::fma(minus_half, odd3, even3),
        S::fma(ends, S::sub(d[3], d[5]), S::sub(d[7], d[1])),
    ]
});

transform!(Output6<S>: 8 to 6, |m| {
    let (even, odd) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
    let (even2, odd2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
    let (even3, odd3) = (S::add(m[5], m[6]), S::sub(m[5], m[6]));
    [
        S::add(S::add(m[0], even), S::add(even2, even3)),
        S::fma(S::splat(2.0), odd2, S::fma(S::splat(0.5), odd3, odd)),
        S::fma(S::splat(4.0), even2, S::fma(S::splat(0.25), even3, even)),
        S::fma(S::splat(8.0), odd2, S::fma(S::splat(0.125), odd3, odd)),
        S::fma(S::splat(16.0), even2, S::fma(S::splat(0.0625), even3, even)),
        S::fma(S::splat(32.0), odd2, S::add(S::fma(S::splat(0.03125), odd3, odd), m[7])),
    ]
});

transform!(Gradient6<S>: 6 to 8, |y| {
    let (two, four, quarter, half) = (S::splat(2.0), S::splat(4.0), S::splat(0.25), S::splat(0.5));
    let (even, odd) = (S::add(S::add(y[0], y[2]), y[4]), S::add(S::add(y[1], y[3]), y[5]));
    let even2 = S::fma(four, S::fma(four, y[4], y[2]), y[0]);
    let odd2 = S::mul(two, S::fma(four, S::fma(four, y[5], y[3]), y[1]));
    let even3 = S::fma(quarter, S::fma(quarter, y[4], y[2]), y[0]);
    let odd3 = S::mul(half, S::fma(quarter, S::fma(quarter, y[5], y[3]), y[1]));
    [
        y[0],
        S::add(even, odd),
        S::sub(even, odd),
        S::add(even2, odd2),
        S::sub(even2, odd2),
        S::add(even3, odd3),
        S::sub(even3, odd3),
        y[5],
    ]
});

transform!(Weights6<S>: 3 to 8, |w| {
    let ninths = S::splat(-2.0 / 9.0);
    let (even, odd) = (S::mul(ninths, S::add(w[0], w[2])), S::mul(ninths, w[1]));
    let even2 = S::fma(S::splat(1.0 / 90.0), w[0], S::mul(S::splat(2.0 / 45.0), w[2]));
    let odd2 = S::mul(S::splat(1.0 / 45.0), w[1]);
    let even3 = S::fma(S::splat(32.0 / 45.0), w[0], S::mul(S::splat(8.0 / 45.0), w[2]));
    let odd3 = S::mul(S::splat(16.0 / 45.0), w[1]);
    [
        w[0],
        S::add(even, odd),
        S::sub(even, odd),
        S::add(even2, odd2),
        S::sub(even2, odd2),
        S::add(even3, odd3),
        S::sub(even3, odd3),
        w[2],
    ]
});

transform!(WeightGradient6<S>: 8 to 3, |u| {
    let ninths = S::splat(-2.0 / 9.0);
    let (even, odd) = (S::mul(ninths, S::add(u[1], u[2])), S::mul(ninths, S::sub(u[1], u[2])));
    let (even2, odd2) = (S::add(u[3], u[4]), S::sub(u[3], u[4]));
    let (even3, odd3) = (S::add(u[5], u[6]), S::sub(u[5], u[6]));
    [
        S::fma(S::splat(1.0 / 90.0), even2, S::fma(S::splat(32.0 / 45.0), even3, S::add(u[0], even))),
        S::fma(S::splat(1.0 / 45.0), odd2, S::fma(S::splat(16.0 / 45.0), odd3, odd)),
        S::fma(S::splat(2.0 / 45.0), even2, S::fma(S::splat(8.0 / 45.0), even3, S::add(u[7], even))),
    ]
});

transform!(Input4<S>: 6 to 6, |d| {
    let (two, four) = (S::splat(2.0), S::splat(4.0));
    let (minus_two, minus_four, minus_five) = (S::splat(-2.0), S::splat(-4.0), S::splat(-5.0));
    let (even, odd) = (S::fma(minus_four, d[2], d[4]), S::fma(minus_four, d[1], d[3]));
    let (even2, odd2) = (S::sub(d[4], d[2]), S::sub(d[3], d[1]));
    [
        S::fma(four, d[0], S::fma(minus_five, d[2], d[4])),
        S::add(even, odd),
        S::sub(even, odd),
        S::fma(two, odd2, even2),
        S::fma(minus_two, odd2, even2),
        S::fma(four, d[1], S::fma(minus_five, d[3], d[5])),
    ]
});

transform!(Output4<S>: 6 to 4, |m| {
    let (two, four, eight) = (S::splat(2.0), S::splat(4.0), S::splat(8.0));
    let (even, odd) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
    let (even2, odd2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
    [
        S::add(S::add(m[0], even), even2),
        S::fma(two, odd2, odd),
        S::fma(four, even2, even),
        S::add(S::fma(eight, odd2, odd), m[5]),
    ]
});

transform!(Gradient4<S>: 4 to 6, |y| {
    let (two, four) = (S::splat(2.0), S::splat(4.0));
    let (even, odd) = (S::add(y[0], y[2]), S::add(y[1], y[3]));
    let (even2, odd2) = (S::fma(four, y[2], y[0]), S::mul(two, S::fma(four, y[3], y[1])));
    [y[0], S::add(even, odd), S::sub(even, odd), S::add(even2, odd2), S::sub(even2, odd2), y[3]]
});

transform!(Weights4<S>: 3 to 6, |w| {
    let (quarter, sixth) = (S::splat(0.25), S::splat(-1.0 / 6.0));
    let (even, odd) = (S::mul(sixth, S::add(w[0], w[2])), S::mul(sixth, w[1]));
    let even2 = S::fma(S::splat(1.0 / 24.0), w[0], S::mul(S::splat(1.0 / 6.0), w[2]));
    let odd2 = S::mul(S::splat(1.0 / 12.0), w[1]);
    [
        S::mul(quarter, w[0]),
        S::add(even, odd),
        S::sub(even, odd),
        S::add(even2, odd2),
        S::sub(even2, odd2),
        w[2],
    ]
});

transform!(WeightGradient4<S>: 6 to 3, |u| {
    let sixth = S::splat(1.0 / 6.0);
    let (even, odd) = (S::add(u[1], u[2]), S::sub(u[2], u[1]));
    let (even2, odd2) = (S::add(u[3], u[4]), S::sub(u[3], u[4]));
    [
        S::fma(S::splat(0.25), u[0], S::fma(S::splat(-1.0 / 6.0), even, S::mul(S::splat(1.0 / 24.0), even2))),
        S::fma(sixth, odd, S::mul(S::splat(1.0 / 12.0), odd2)),
        S::fma(sixth, S::sub(even2, even), u[5]),
    ]
});

transform!(WholeInput<S>: 3 to 4, |d| {
    let (two, minus_two, three) = (S::splat(2.0), S::splat(-2.0), S::splat(3.0));
    let (even, odd, middle) = (S::add(d[0], d[2]), S::sub(d[0], d[2]), S::mul(three, d[1]));
    [
        S::fma(two, even, middle),
        S::fma(minus_two, even, middle),
        S::sub(S::mul(two, odd), d[1]),
        S::sub(S::mul(minus_two, odd), d[1]),
    ]
});

transform!(WholeOutput<S>: 4 to 3, |m| {
    let (first, second) = (S::add(m[0], m[1]), S::add(m[2], m[3]));
    let (first_odd, second_odd) = (S::sub(m[0], m[1]), S::sub(m[2], m[3]));
    [
        S::add(first, second),
        S::fma(S::splat(1.5), first_odd, S::mul(S::splat(0.5), second_odd)),
        S::sub(first, second),
    ]
});

transform!(WholeGradient<S>: 3 to 4, |y| {
    let (even, odd) = (S::add(y[0], y[2]), S::sub(y[0], y[2]));
    [
        S::fma(S::splat(1.5), y[1], even),
        S::fma(S::splat(-1.5), y[1], even),
        S::fma(S::splat(0.5), y[1], odd),
        S::fma(S::splat(-0.5), y[1], odd),
    ]
});

transform!(WholeWeights<S>: 3 to 4, |w| {
    let (even, odd) = (S::mul(S::splat(1.0 / 12.0), S::add(w[0], w[2])), S::mul(S::splat(0.25), S::sub(w[0], w[2])));
    let middle = S::mul(S::splat(0.125), w[1]);
    [S::add(even, middle), S::sub(even, middle), S::add(odd, middle), S::sub(odd, middle)]
});

transform!(WholeWeightGradient<S>: 4 to 3, |u| {
    let (even, odd) = (S::mul(S::splat(1.0 / 12.0), S::add(u[0], u[1])), S::mul(S::splat(0.25), S::add(u[2], u[3])));
    let middle = S::add(S::sub(u[0], u[1]), S::sub(u[2], u[3]));
    [S::add(even, odd), S::mul(S::splat(0.125), middle), S::sub(even, odd)]
});

transform!(StridedInput<S>: 7 to 7, |d| {
    [S::sub(d[0], d[4]), S::add(d[2], d[4]), S::sub(d[4], d[2]), S::sub(d[2], d[6]), d[1], d[3], d[5]]
});

transform!(StridedOutput<S>: 7 to 3, |m| {
    let (even, odd) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
    [S::add(S::add(m[0], even), m[4]), S::add(odd, m[5]), S::add(S::sub(even, m[3]), m[6])]
});

transform!(StridedBackInput<S>: 4 to 7, |y| {
    [S::sub(y[0], y[2]), S::add(y[1], y[2]), S::sub(y[2], y[1]), S::sub(y[1], y[3]), y[0], y[1], y[2]]
});

transform!(StridedBackOutput<S>: 7 to 6, |m| {
    let (even, odd) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
    [m[4], S::add(m[0], even), m[5], odd, m[6], S::sub(even, m[3])]
});

transform!(StridedGradient<S>: 3 to 7, |y| {
    let even = S::add(y[0], y[2]);
    [y[0], S::add(even, y[1]), S::sub(even, y[1]), S::sub(S::splat(0.0), y[2]), y[0], y[1], y[2]]
});

transform!(StridedWeights<S>: 3 to 5, |w| {
    let half = S::splat(0.5);
    [w[0], S::mul(half, S::add(w[0], w[2])), S::mul(half, S::sub(w[0], w[2])), w[2], w[1]]
});

transform!(StridedWeightGradient<S>: 5 to 3, |u| {
    let half = S::splat(0.5);
    [S::fma(half, S::add(u[1], u[2]), u[0]), u[4], S::fma(half, S::sub(u[1], u[2]), u[3])]
});
